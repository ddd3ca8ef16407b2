#!/usr/bin/env python3
"""What a transfer costs: reef beside libtorrent, and beside the least that it can cost at all.

    cargo build --release && cargo build --release -p reef --example floor --example drain
    tests/compare/compare.py                       # download, upload and check, 1 peer and 20
    tests/compare/compare.py download --peers 1 --pieces 256 1024 4096 16384 --mib 2048
    tests/compare/compare.py upload --connections 1 50 --limit-mib 64
    tests/compare/compare.py check --files 10000

libtorrent comes from PyPI, into target/compare, if Python does not have it. All contenders of a comparison run in turns on
the same files, over loopback TCP without encryption. For each run the CPU time of the whole process (user and system), the
time on the clock and the process's own peak memory are taken; medians are printed, and reef's ratio to each of the others.
Figures drift by a third between series on a shared machine: it is the ratios that count. reef runs with its standard
plugins. Linux.

  download  reef, libtorrent, and with one peer examples/floor (receive, hash side by side, write; no protocol)
  upload    both seed from the page cache to a downloader that throws away what it gets (examples/drain)
  check     reef check, libtorrent's check of files that are there, examples/floor check
"""

import argparse
import json
import os
import sys
import tempfile

# Nothing is left beside the sources.
sys.dont_write_bytecode = True

from contenders import KIB, ROLES, ROOT, make_files, say
from measure import Bench
from transfers import check, download
from upload import upload

KINDS = ("download", "upload", "check")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help=f"what to compare: {', '.join(KINDS)} (by default all)")
    parser.add_argument("--mib", type=int, default=1024, help="size of the files")
    parser.add_argument("--files", type=int, default=1, help="how many files (uploads are of one)")
    parser.add_argument("--peers", type=int, nargs="+", default=[1, 20], help="from and to how many peers")
    parser.add_argument("--connections", type=int, nargs="+", help="connections to upload over (by default as --peers)")
    parser.add_argument("--pieces", type=int, nargs="+", default=[1024], help="sizes of pieces, in KiB")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each that are counted")
    parser.add_argument("--window", type=int, default=256, help="requests that wait on each connection of an upload")
    parser.add_argument("--limit-mib", type=int, default=0, help="upload also under this limit, in MiB a second")
    parser.add_argument("--reef", default=f"{ROOT}/target/release/reef", help="the program")
    parser.add_argument("--floor", default=f"{ROOT}/target/release/examples/floor", help="the floor program")
    parser.add_argument("--drain", default=f"{ROOT}/target/release/examples/drain", help="the downloader of uploads")
    parser.add_argument("--folder", help="where to put the files (by default the system's temporary folder)")
    parser.add_argument("--json", help="a file for the figures")
    options = parser.parse_args()
    for unknown in set(options.what) - set(KINDS):
        parser.error(f"{unknown} is nothing to compare; {', '.join(KINDS)} are")
    options.what = options.what or [kind for kind in KINDS if kind != "upload" or options.files == 1]
    if "upload" in options.what and options.files != 1:
        parser.error("uploads are of one file")
    for program in [options.reef] + [options.drain] * ("upload" in options.what):
        if not os.path.exists(program):
            parser.error(f"{program} is missing; build it as the first line of this help says")
    if not os.path.exists(options.floor):
        say(f"{options.floor} is missing: without the floor")
    return options


def compare(options, folder):
    make_files(folder, options.mib, options.files)
    bench = Bench(options, folder)
    startup = bench.measure([sys.executable, "-c", "import libtorrent"])[0]
    say(f"of libtorrent's time {startup:.3f} s a run are Python's start (downloads and checks)")
    for piece in options.pieces:
        if "download" in options.what:
            for peers in options.peers:
                download(bench, peers, piece * KIB)
        if "upload" in options.what:
            upload(bench, piece * KIB)
        if "check" in options.what:
            check(bench, piece * KIB)
    if options.json:
        with open(options.json, "w") as out:
            json.dump(bench.rows, out, indent=1)


def main():
    if sys.argv[1:2] == ["--as"]:
        return ROLES[sys.argv[2]](*sys.argv[3:])
    options = parse()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        compare(options, folder)


main()
