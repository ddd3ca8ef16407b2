#!/usr/bin/env python3
"""How costs grow with the size of one torrent and the number of peers: a million pieces, a hundred thousand files, two
thousand connected peers, each beside a tenth of it.

    cargo build --release
    python3 tests/compare/large.py [--pieces 1000000] [--files 100000] [--peers 2000] [--only pieces|files|peers]

It needs nothing but Python and reef. The content of the million pieces is a sparse file of zeros.
"""

import argparse
import hashlib
import json
import os
import resource
import socket
import struct
import tempfile
import time

from idle import PIECE, ROOT, Reef, cpu_of, idle_cost, memory_of, read_exactly, say

KIB = 1024


def bencode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"


def write_torrent(path, info):
    with open(path, "wb") as out:
        out.write(bencode({b"info": info}))
    return hashlib.sha1(bencode(info)).digest()


def ask(reef, **command):
    answer = json.loads(reef.ask([json.dumps(command).encode() + b"\n"])[0])
    if not answer["ok"]:
        raise SystemExit(f"{command}: {answer}")
    return answer


def measured(reef, what):
    """Does something; gives its wall time and reef's CPU time for it."""
    cpu, start = cpu_of(reef.child.pid), time.monotonic()
    what()
    return time.monotonic() - start, cpu_of(reef.child.pid) - cpu


def show(name, **figures):
    say(f"{name:24} " + "  ".join(f"{key} {value:.3f}" for key, value in figures.items()))


def wait_for(reef, torrent, condition):
    while True:
        status = ask(reef, command="status", torrent=torrent)["status"]
        if condition(status):
            return status
        if status["error"]:
            raise SystemExit(status["error"])
        time.sleep(0.05)


def options_at(options, folder, *more):
    copy = argparse.Namespace(**vars(options))
    copy.reef_option = [*options.reef_option, *more]
    os.makedirs(folder, exist_ok=True)
    return Reef(copy, folder)


def shake_hands(address, info_hash, number=0):
    peer = socket.create_connection(address, timeout=60)
    peer.sendall(b"\x13BitTorrent protocol" + bytes(7) + b"\x04" + info_hash + b"-XX0001-%012d" % number)
    read_exactly(peer, 68)
    return peer


def add_and_serve(reef, torrent, folder, info_hash, name):
    added = measured(reef, lambda: ask(reef, command="add", source=torrent, save_path=folder, seed_mode=True))
    first = measured(reef, lambda: shake_hands(reef.address, info_hash).close())
    status = measured(reef, lambda: ask(reef, command="status", torrent=1))
    show(name, add_s=added[0], add_cpu=added[1], first_peer_s=first[0], status_s=status[0], mib=memory_of(reef.child.pid)[0])


def pieces(options, folder, count):
    """A torrent of so many pieces: added, started again, served from, and its first 256 MiB fetched in order."""
    zeros = hashlib.sha1(bytes(PIECE)).digest()
    info = {b"name": b"zeros", b"length": count * PIECE, b"piece length": PIECE, b"pieces": zeros * count}
    os.makedirs(f"{folder}/data")
    info_hash = write_torrent(f"{folder}/t.torrent", info)
    with open(f"{folder}/data/zeros", "wb") as out:
        out.truncate(count * PIECE)
    seed = options_at(options, f"{folder}/seed")
    add_and_serve(seed, f"{folder}/t.torrent", f"{folder}/data", info_hash, f"{count} pieces")
    leech = options_at(options, f"{folder}/leech", "--peer", "%s:%d" % seed.address)
    amount = min(count * PIECE, 256 << 20)

    def download():
        ask(leech, command="add", source=f"{folder}/t.torrent", save_path=f"{folder}/in", sequential=True)
        wait_for(leech, 1, lambda status: status["downloaded"] >= amount)

    # The whole torrent need not fit the disk: free room is looked at by size.
    wall, cpu = measured(leech, download)
    downloaded = ask(leech, command="status", torrent=1)["status"]["downloaded"]
    show("  download of its start", s=wall, cpu_per_gib=cpu * (1 << 30) / downloaded, mib=memory_of(leech.child.pid)[0])
    leech.stop()
    show("  stop of its seed", s=seed.stop())
    again = options_at(options, f"{folder}/seed")
    show("  start of its seed", s=again.start_seconds, mib=memory_of(again.child.pid)[0])
    again.stop()


def files(options, folder, count):
    """A torrent of so many files of 1 KiB: added, served from, started again, checked, and downloaded."""
    data = [hashlib.sha256(b"%d" % number).digest() * 32 for number in range(count)]
    whole = b"".join(data)
    hashes = b"".join(hashlib.sha1(whole[at:at + PIECE]).digest() for at in range(0, len(whole), PIECE))
    names = [[b"%03d" % (number // 1000), b"%06d" % number] for number in range(count)]
    for part in range((count + 999) // 1000):
        os.makedirs(f"{folder}/data/many/{part:03}")
    for number, block in enumerate(data):
        with open(f"{folder}/data/many/{number // 1000:03}/{number:06}", "wb") as out:
            out.write(block)
    info = {b"name": b"many", b"piece length": PIECE, b"pieces": hashes,
            b"files": [{b"length": KIB, b"path": path} for path in names]}
    info_hash = write_torrent(f"{folder}/t.torrent", info)
    seed = options_at(options, f"{folder}/seed")
    add_and_serve(seed, f"{folder}/t.torrent", f"{folder}/data", info_hash, f"{count} files")

    def check():
        ask(seed, command="recheck", torrent=1)
        wait_for(seed, 1, lambda status: status["state"] == "seeding")

    wall, cpu = measured(seed, check)
    show("  check", s=wall, cpu=cpu)
    leech = options_at(options, f"{folder}/leech", "--peer", "%s:%d" % seed.address)

    def download():
        ask(leech, command="add", source=f"{folder}/t.torrent", save_path=f"{folder}/in")
        wait_for(leech, 1, lambda status: status["complete"])

    wall, cpu = measured(leech, download)
    show("  download", s=wall, cpu=cpu, mib=memory_of(leech.child.pid)[0])
    leech.stop()
    seed.stop()


def peers(options, folder, count):
    """So many connected peers of one torrent, which say nothing."""
    info = {b"name": b"one", b"length": PIECE, b"piece length": PIECE, b"pieces": hashlib.sha1(bytes(PIECE)).digest()}
    os.makedirs(f"{folder}/data")
    info_hash = write_torrent(f"{folder}/t.torrent", info)
    with open(f"{folder}/data/one", "wb") as out:
        out.write(bytes(PIECE))
    reef = options_at(options, f"{folder}/state", "--set", f"connections_limit={count + 50}")
    ask(reef, command="add", source=f"{folder}/t.torrent", save_path=f"{folder}/data", seed_mode=True)
    before, connected = memory_of(reef.child.pid)[0], []

    def connect():
        connected.extend(shake_hands(reef.address, info_hash, number) for number in range(count))

    wall, cpu = measured(reef, connect)
    time.sleep(5)
    mib = memory_of(reef.child.pid)[0]
    idle = idle_cost(reef.child.pid, options.idle)

    def fetch():
        peer = connected[count // 2]
        peer.sendall(struct.pack(">IB", 1, 2))
        while True:
            message = read_exactly(peer, struct.unpack(">I", read_exactly(peer, 4))[0])
            if message[:1] == b"\x01":
                peer.sendall(struct.pack(">IBIII", 13, 6, 0, 0, PIECE))
            elif message[:1] == b"\x07":
                return

    served = measured(reef, fetch)[0]
    show(f"{count} peers", connect_s=wall, connect_cpu=cpu, kib_a_peer=(mib - before) * KIB / count, mib=mib,
         idle_percent=idle, one_served_s=served)
    for peer in connected:
        peer.close()
    reef.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pieces", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--peers", type=int, default=2_000)
    parser.add_argument("--idle", type=float, default=20, help="seconds of idleness to measure")
    parser.add_argument("--only", choices=["pieces", "files", "peers"])
    parser.add_argument("--folder", help="where to put files (default: a temporary folder)")
    parser.add_argument("--reef", default=os.path.join(ROOT, "target", "release", "reef"))
    parser.add_argument("--reef-option", action="append", default=[], help="one more option of `reef run`")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for name, run, most in (("pieces", pieces, options.pieces), ("files", files, options.files),
                            ("peers", peers, options.peers)):
        if options.only in (None, name):
            for count in (most // 10, most):
                with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                    run(options, folder, count)


main()
