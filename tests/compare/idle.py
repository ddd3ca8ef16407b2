#!/usr/bin/env python3
"""What ten thousand idle seeding torrents cost: reef beside libtorrent.

Both add the same torrents of 16 KiB each, whose files are there and are believed to be right (seed_mode), in a process of
their own. Taken are: the time and the CPU time until all are added (reef: and durably stored, which libtorrent's session
does not do by itself; its resume data is then saved and written apart), resident memory, CPU time while idle, the time of a
start from what was stored, and whether a peer that connects to some of them is served.

    cargo build --release
    python3 tests/compare/idle.py [--torrents 10000] [--idle 60] [--rounds 1] [--json FILE]

libtorrent is taken from the interpreter that runs this, or else installed from PyPI into a virtual environment under
target/compare/.
"""

import argparse
import hashlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

PIECE = 16384
ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
TICKS = os.sysconf("SC_CLK_TCK")


def say(text):
    print(text, flush=True)


def with_libtorrent():
    """Goes on in an interpreter that has libtorrent."""
    try:
        import libtorrent  # noqa: F401
        return
    except ImportError:
        pass
    venv = os.path.join(ROOT, "target", "compare", "venv")
    python = os.path.join(venv, "bin", "python")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    if subprocess.run([python, "-c", "import libtorrent"], stderr=subprocess.DEVNULL).returncode != 0:
        subprocess.run([python, "-m", "pip", "install", "--quiet", "libtorrent"], check=True)
    os.execv(python, [python, os.path.abspath(__file__), *sys.argv[1:]])


def data_of(number):
    block = hashlib.sha256(b"reef idle %d" % number).digest()
    return block * (PIECE // len(block))


def make(folder, count):
    """So many files of one piece, and their torrent files; gives the info-hashes."""
    os.makedirs(f"{folder}/data")
    os.makedirs(f"{folder}/torrents")
    hashes = []
    for number in range(count):
        name, data = b"t%d" % number, data_of(number)
        with open(f"{folder}/data/t{number}", "wb") as out:
            out.write(data)
        info = b"d6:lengthi%de4:name%d:%s12:piece lengthi%de6:pieces20:%se" % (
            PIECE, len(name), name, PIECE, hashlib.sha1(data).digest())
        with open(f"{folder}/torrents/t{number}.torrent", "wb") as out:
            out.write(b"d4:info" + info + b"e")
        hashes.append(hashlib.sha1(info).digest())
    return hashes


def cpu_of(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def fine_cpu_of(pid):
    """CPU seconds of all threads, in nanoseconds of the scheduler; those of threads that ended are not in it."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat") as stat:
                total += int(stat.read().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total / 1e9


def memory_of(pid):
    """Resident MiB, and of those the ones that are this process's own."""
    values = {}
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        for line in rollup:
            parts = line.split()
            if len(parts) == 3 and parts[2] == "kB":
                values[parts[0].rstrip(":")] = int(parts[1])
    return values["Rss"] / 1024, (values["Private_Clean"] + values["Private_Dirty"]) / 1024


def read_exactly(connection, length):
    data = b""
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            raise OSError("the connection was closed")
        data += part
    return data


def fetch(address, info_hash, number):
    """Downloads the one piece of a torrent as a peer, and checks it; gives the seconds that took."""
    start = time.monotonic()
    with socket.create_connection(address, timeout=20) as peer:
        peer.sendall(b"\x13BitTorrent protocol" + bytes(8) + info_hash + b"-XX0001-" + os.urandom(12))
        read_exactly(peer, 68)
        peer.sendall(struct.pack(">IB", 1, 2))
        piece = None
        while piece is None:
            length = struct.unpack(">I", read_exactly(peer, 4))[0]
            message = read_exactly(peer, length)
            if message[:1] == b"\x01":
                peer.sendall(struct.pack(">IBIII", 13, 6, 0, 0, PIECE))
            elif message[:1] == b"\x07":
                piece = message[9:]
    if piece != data_of(number):
        sys.exit(f"torrent {number} was served wrong")
    return time.monotonic() - start


def fetch_some(address, hashes):
    times = [fetch(address, hashes[number], number) for number in range(0, len(hashes), max(1, len(hashes) // 20))]
    return {"peers_served": len(times), "first_block_ms": 1000 * sorted(times)[len(times) // 2]}


def idle_cost(pid, seconds):
    before, start = fine_cpu_of(pid), time.monotonic()
    time.sleep(seconds)
    return 100 * (fine_cpu_of(pid) - before) / (time.monotonic() - start)


class Reef:
    """A `reef run`."""

    def __init__(self, options, folder):
        env = dict(os.environ, HOME=folder, XDG_STATE_HOME=f"{folder}/home", XDG_CONFIG_HOME=f"{folder}/home")
        command = [options.reef, "run", "--state", f"{folder}/state", "--listen", "127.0.0.1:0", *options.reef_option]
        self.started = time.monotonic()
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        self.ready = json.loads(self.child.stdout.readline())
        self.start_seconds = time.monotonic() - self.started
        self.start_cpu = fine_cpu_of(self.child.pid)
        host, port = self.ready["listening"][0].rsplit(":", 1)
        self.address = (host, int(port))

    def ask(self, commands):
        text = b"".join(commands)
        writer = threading.Thread(target=self.write, args=(text,))
        writer.start()
        answers = [self.child.stdout.readline() for _ in commands]
        writer.join()
        return answers

    def write(self, text):
        self.child.stdin.write(text)
        self.child.stdin.flush()

    def stop(self):
        start = time.monotonic()
        self.ask([b'{"command":"stop"}\n'])
        self.child.wait()
        return time.monotonic() - start


def run_reef(options, folder, hashes):
    commands = [json.dumps({"command": "add", "id": number, "source": f"{folder}/torrents/t{number}.torrent",
                            "save_path": f"{folder}/data", "seed_mode": True}).encode() + b"\n"
                for number in range(len(hashes))]
    reef = Reef(options, folder)
    pid, results = reef.child.pid, {"empty_mib": memory_of(reef.child.pid)[0]}
    before, start = cpu_of(pid), time.monotonic()
    answers = reef.ask(commands)
    results["add_seconds"], results["add_cpu"] = time.monotonic() - start, cpu_of(pid) - before
    if not all(b'"ok":true' in answer for answer in answers):
        sys.exit("reef refused a torrent: " + next(a for a in answers if b'"ok":true' not in a).decode())
    results["added_mib"] = memory_of(pid)[0]
    settle(options, len(hashes))
    results["mib"], results["own_mib"] = memory_of(pid)
    results["idle_percent"] = idle_cost(pid, options.idle)
    results.update(fetch_some(reef.address, hashes))
    results["stop_seconds"] = reef.stop()
    reef = Reef(options, folder)
    results["restart_seconds"], results["restart_cpu"] = reef.start_seconds, reef.start_cpu
    if reef.ready["torrents"] != len(hashes):
        sys.exit(f"reef has {reef.ready['torrents']} torrents after a restart")
    results["restarted_mib"] = memory_of(reef.child.pid)[0]
    results["served_after_restart"] = fetch_some(reef.address, hashes)["peers_served"]
    reef.stop()
    results["store_mib"] = os.path.getsize(f"{folder}/state/session.redb") / (1 << 20)
    return results


def settle(options, torrents):
    """After a start both look at files for a while; what follows is what it costs to be idle."""
    time.sleep(options.settle if options.settle is not None else 10 + torrents / 50)


def libtorrent_process(folder, count, is_restart):
    """libtorrent's side: does as it is told on standard input."""
    import libtorrent as lt
    started = time.monotonic()
    ses = lt.session({
        "listen_interfaces": "127.0.0.1:0", "alert_mask": lt.alert.category_t.storage_notification,
        "enable_dht": False, "enable_lsd": False, "enable_natpmp": False, "enable_upnp": False,
        "active_limit": -1, "active_seeds": -1, "alert_queue_size": 10 * count,
    })
    flags = ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    before, handles = cpu_of("self"), []
    for number in range(count):
        if is_restart:
            with open(f"{folder}/resume/{number}", "rb") as stored:
                params = lt.read_resume_data(stored.read())
        else:
            params = lt.load_torrent_file(f"{folder}/torrents/t{number}.torrent")
            params.save_path = f"{folder}/data"
            params.flags |= lt.torrent_flags.seed_mode
        params.flags &= flags
        handles.append(ses.add_torrent(params))
    seconds = time.monotonic() - started
    say(json.dumps({"seconds": seconds, "cpu": cpu_of("self") - before, "port": ses.listen_port()}))
    if sys.stdin.readline().strip() == "save":
        os.makedirs(f"{folder}/resume")
        start, left = time.monotonic(), count
        for number, handle in enumerate(handles):
            handle.save_resume_data(lt.torrent_handle.save_info_dict)
        while left:
            ses.wait_for_alert(60_000)
            for alert in ses.pop_alerts():
                if isinstance(alert, lt.save_resume_data_alert):
                    left -= 1
                    with open(f"{folder}/resume/{left}", "wb") as out:
                        out.write(lt.write_resume_data_buf(alert.params))
        say(json.dumps({"seconds": time.monotonic() - start}))
        sys.stdin.readline()
    os._exit(0)


class Libtorrent:
    def __init__(self, folder, count, is_restart):
        how = "--libtorrent-restart" if is_restart else "--libtorrent"
        self.child = subprocess.Popen([sys.executable, os.path.abspath(__file__), how, folder, str(count)],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.added = json.loads(self.child.stdout.readline())
        self.address = ("127.0.0.1", self.added["port"])

    def tell(self, text):
        self.child.stdin.write(text)
        self.child.stdin.flush()


def run_libtorrent(options, folder, hashes):
    other = Libtorrent(folder, len(hashes), False)
    pid, results = other.child.pid, {}
    results["add_seconds"], results["add_cpu"] = other.added["seconds"], other.added["cpu"]
    results["added_mib"] = memory_of(pid)[0]
    settle(options, len(hashes))
    results["mib"], results["own_mib"] = memory_of(pid)
    results["idle_percent"] = idle_cost(pid, options.idle)
    results.update(fetch_some(other.address, hashes))
    other.tell(b"save\n")
    results["save_seconds"] = json.loads(other.child.stdout.readline())["seconds"]
    other.tell(b"end\n")
    other.child.wait()
    again = Libtorrent(folder, len(hashes), True)
    results["restart_seconds"], results["restart_cpu"] = again.added["seconds"], again.added["cpu"]
    results["restarted_mib"] = memory_of(again.child.pid)[0]
    again.tell(b"end\n")
    again.child.wait()
    shutil.rmtree(f"{folder}/resume")
    return results


def main():
    if sys.argv[1:2] in (["--libtorrent"], ["--libtorrent-restart"]):
        return libtorrent_process(sys.argv[2], int(sys.argv[3]), sys.argv[1].endswith("restart"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torrents", type=int, default=10_000)
    parser.add_argument("--idle", type=float, default=60, help="seconds of idleness to measure")
    parser.add_argument("--settle", type=float, help="seconds to wait before that (default: 10 and one for 50 torrents)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", choices=["reef", "libtorrent"])
    parser.add_argument("--folder", help="where to put files and the store (default: a temporary folder)")
    parser.add_argument("--json", help="write the results into this file")
    parser.add_argument("--reef", default=os.path.join(ROOT, "target", "release", "reef"))
    parser.add_argument("--reef-option", action="append", default=[], help="one more option of `reef run`")
    options = parser.parse_args()
    if options.only != "reef":
        with_libtorrent()
    results = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True).stdout.strip()
        say(f"{options.torrents} torrents of {PIECE} bytes on {kind}")
        hashes = make(folder, options.torrents)
        for number in range(options.rounds):
            for name, run in (("reef", run_reef), ("libtorrent", run_libtorrent)):
                if options.only in (None, name):
                    results.setdefault(name, []).append(run(options, folder, hashes))
                    shutil.rmtree(f"{folder}/state", ignore_errors=True)
                    for what, value in results[name][-1].items():
                        say(f"round {number + 1}  {name:10}  {what:22} {value:10.3f}")
    if options.json:
        with open(options.json, "w") as out:
            json.dump(results, out, indent=1)


if __name__ == "__main__":
    main()
