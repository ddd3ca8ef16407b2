#!/usr/bin/env python3
"""What a download costs: reef beside libtorrent.

Both download the same file from a libtorrent seed over loopback TCP, in turns. For each run the whole process's CPU time
(user and system) and its peak memory are taken; medians and their ratio are printed.

    .ci/install                                  # libtorrent, once
    cargo build --release
    target/interop/venv/bin/python tests/compare/download.py [--mib 1024] [--rounds 5]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import libtorrent as lt

MIB = 1 << 20
PIECE = MIB


def say(text):
    print(text, flush=True)


def make(folder, mib):
    """A file that does not compress, and its torrent file."""
    os.makedirs(f"{folder}/seed")
    path = f"{folder}/seed/data.bin"
    with open(path, "wb") as out:
        for _ in range(mib):
            out.write(os.urandom(MIB))
    torrent = lt.create_torrent(lt.list_files(path), PIECE, lt.create_torrent.v1_only)
    lt.set_piece_hashes(torrent, f"{folder}/seed")
    with open(f"{folder}/data.torrent", "wb") as out:
        out.write(lt.bencode(torrent.generate()))


def session(listen):
    return lt.session({
        "listen_interfaces": listen,
        "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.storage_notification,
        "enable_dht": False, "enable_lsd": False, "enable_natpmp": False, "enable_upnp": False,
        "enable_incoming_utp": False, "enable_outgoing_utp": False,
        "in_enc_policy": 2, "out_enc_policy": 2,
        "allow_multiple_connections_per_ip": True,
    })


def add(ses, torrent, folder):
    params = lt.load_torrent_file(torrent)
    params.save_path = folder
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    return ses.add_torrent(params)


def wait_for(ses, kind):
    while True:
        ses.wait_for_alert(60_000)
        for alert in ses.pop_alerts():
            if alert.what() == kind:
                return


def seed(folder, listen):
    """The process that serves: says so, and ends with its input."""
    ses = session(listen)
    add(ses, f"{folder}/data.torrent", f"{folder}/seed")
    wait_for(ses, "torrent_checked")
    say("seeding")
    sys.stdin.read()
    os._exit(0)


def leech(folder, listen, peer, into):
    """libtorrent's download, until everything is verified and written."""
    ses = session(listen)
    handle = add(ses, f"{folder}/data.torrent", into)
    host, port = peer.rsplit(":", 1)
    handle.connect_peer((host, int(port)))
    wait_for(ses, "torrent_finished")
    handle.flush_cache()
    wait_for(ses, "cache_flushed")


def measure(command, env):
    """Runs a command to its end: CPU seconds, wall seconds, peak memory in MiB."""
    start = time.monotonic()
    child = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{command[0]} failed with {child.returncode}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - start, usage.ru_maxrss / 1024


def compare(options, folder):
    make(folder, options.mib)
    server = subprocess.Popen([sys.executable, __file__, "--seed", folder, options.seed_address],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if server.stdout.readline().strip() != "seeding":
        sys.exit("the seed did not start")
    into, torrent = f"{folder}/in", f"{folder}/data.torrent"
    peer = ["--peer", options.seed_address, "--listen", "127.0.0.3:0"]
    contenders = {
        "reef": [options.reef, "get", torrent, "-o", into, "-q", *peer],
        "libtorrent": [sys.executable, __file__, "--leech", folder, "127.0.0.4:6904", options.seed_address, into],
    }
    results = {name: [] for name in contenders}
    env = dict(os.environ, HOME=folder, XDG_STATE_HOME=f"{folder}/state", XDG_CONFIG_HOME=f"{folder}/config")
    for number in range(options.rounds + 1):
        for name, command in contenders.items():
            cpu, wall, memory = measure(command, env)
            if subprocess.run(["cmp", f"{folder}/seed/data.bin", f"{into}/data.bin"]).returncode != 0:
                sys.exit(f"{name}: the files differ")
            shutil.rmtree(into)
            shutil.rmtree(f"{folder}/state", ignore_errors=True)
            # The first round warms the page cache and is not counted.
            if number > 0:
                cpu *= 1024 / options.mib
                results[name].append((cpu, wall, memory))
                say(f"round {number}  {name:10} {cpu:6.3f} CPU s/GiB  {wall:7.2f} s  {memory:7.1f} MiB")
    server.stdin.close()
    server.wait()
    return results


def report(results):
    startup = measure([sys.executable, "-c", "import libtorrent"], None)[0]
    say(f"of libtorrent's time {startup:.3f} s a run are Python's start")
    medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in results.items()}
    for name, (cpu, wall, memory) in medians.items():
        say(f"median   {name:10} {cpu:6.3f} CPU s/GiB  {wall:7.2f} s  {memory:7.1f} MiB")
    ratio = medians["reef"][0] / medians["libtorrent"][0]
    say(f"reef takes {ratio:.2f} x the CPU time of libtorrent")
    say(json.dumps({"medians": medians, "ratio": ratio}))


def main():
    if sys.argv[1:2] == ["--seed"]:
        return seed(*sys.argv[2:])
    if sys.argv[1:2] == ["--leech"]:
        return leech(*sys.argv[2:])
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024, help="size of the file")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each that are counted")
    parser.add_argument("--reef", default=os.path.join(root, "target/release/reef"), help="the program")
    parser.add_argument("--seed-address", default="127.0.0.2:6902", help="where the seed listens")
    parser.add_argument("--folder", help="where to put the files (by default the system's temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        report(compare(options, folder))


main()
