"""libtorrent, and what all contenders transfer. Each contender runs in a process of its own."""

import hashlib
import os
import subprocess
import sys

LIBTORRENT = "libtorrent==2.1.1"
ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
KIB, MIB = 1 << 10, 1 << 20


def with_libtorrent():
    """libtorrent's module; in a Python environment of our own where this one does not have it."""
    try:
        import libtorrent
        return libtorrent
    except ImportError:
        pass
    home = os.path.join(ROOT, "target", "compare", "venv")
    python = os.path.join(home, "bin", "python")
    if os.path.realpath(sys.prefix) == os.path.realpath(home):
        sys.exit(f"{home} has no libtorrent; remove it and try again")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
    if subprocess.run([python, "-c", "import libtorrent"], stderr=subprocess.DEVNULL).returncode != 0:
        subprocess.run([python, "-m", "pip", "install", "--quiet", LIBTORRENT], check=True)
    os.execv(python, [python, *sys.argv])


lt = with_libtorrent()


def say(text):
    print(text, flush=True)


# What contenders transfer.

def make_files(folder, mib, files):
    """Files that do not compress: one, or many of the same size in folders of a hundred."""
    if files == 1:
        os.makedirs(f"{folder}/seed")
        with open(f"{folder}/seed/data", "wb") as out:
            for _ in range(mib):
                out.write(os.urandom(MIB))
        return
    size = mib * MIB // files
    for number in range(files):
        path = f"{folder}/seed/data/{number // 100}"
        os.makedirs(path, exist_ok=True)
        with open(f"{path}/{number}", "wb") as out:
            out.write(os.urandom(size))


def torrent_of(folder, piece):
    return f"{folder}/{piece // KIB}.torrent"


def make_torrent(folder, piece):
    """A v1 torrent of the files with pieces of so many bytes."""
    path, piece = torrent_of(folder, int(piece)), int(piece)
    content = f"{folder}/seed/data"
    info = {b"name": b"data", b"piece length": piece}
    if os.path.isfile(content):
        names, info[b"length"] = [content], os.path.getsize(content)
    else:
        found = sorted(os.path.join(at, name) for at, _, names in os.walk(content) for name in names)
        names = found
        info[b"files"] = [{b"length": os.path.getsize(name), b"path": os.fsencode(os.path.relpath(name, content)).split(b"/")}
                          for name in found]
    hashes, rest = [], b""
    for name in names:
        with open(name, "rb") as file:
            while data := file.read(piece - len(rest)):
                rest += data
                if len(rest) == piece:
                    hashes.append(hashlib.sha1(rest).digest())
                    rest = b""
    if rest:
        hashes.append(hashlib.sha1(rest).digest())
    info[b"pieces"] = b"".join(hashes)
    with open(path, "wb") as out:
        out.write(lt.bencode({b"info": info}))


# libtorrent, as a seed and as a contender.

def session(listen, more=None):
    return lt.session({
        "listen_interfaces": listen,
        "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.storage_notification,
        "enable_dht": False, "enable_lsd": False, "enable_natpmp": False, "enable_upnp": False,
        "enable_incoming_utp": False, "enable_outgoing_utp": False,
        "in_enc_policy": 2, "out_enc_policy": 2,
        "allow_multiple_connections_per_ip": True,
        **(more or {}),
    })


def add(ses, torrent, folder, flags=0):
    params = lt.load_torrent_file(torrent)
    params.save_path = folder
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    params.flags |= flags
    return ses.add_torrent(params)


def wait_for(ses, kind):
    while True:
        ses.wait_for_alert(60_000)
        for alert in ses.pop_alerts():
            if alert.what() == kind:
                return


def as_seeds(torrent, folder, *addresses):
    """A process that serves from each address: says so, and ends with its input."""
    sessions = [session(address) for address in addresses]
    for ses in sessions:
        handle = add(ses, torrent, folder, lt.torrent_flags.seed_mode)
        while not handle.status().is_seeding:
            ses.wait_for_alert(100)
            ses.pop_alerts()
    say("ready")
    sys.stdin.read()
    os._exit(0)


def as_uploader(torrent, folder, listen, limit):
    """A seed that is measured. It checks its files first, so that it need not verify what it reads later."""
    ses = session(listen, {
        "unchoke_slots_limit": -1, "upload_rate_limit": int(limit), "max_allowed_in_request_queue": 2000,
    })
    handle = add(ses, torrent, folder)
    while not handle.status().is_seeding:
        ses.wait_for_alert(1000)
        ses.pop_alerts()
    say("ready")
    sys.stdin.read()
    os._exit(0)


def as_leech(torrent, into, listen, *peers):
    """libtorrent's download, until everything is verified and written."""
    ses = session(listen)
    handle = add(ses, torrent, into)
    for peer in peers:
        host, port = peer.rsplit(":", 1)
        handle.connect_peer((host, int(port)))
    wait_for(ses, "torrent_finished")
    handle.flush_cache()
    wait_for(ses, "cache_flushed")


def as_checker(torrent, folder, listen):
    """libtorrent's check of files that are there."""
    ses = session(listen)
    handle = add(ses, torrent, folder)
    wait_for(ses, "torrent_checked")
    if handle.status().progress < 1:
        sys.exit("libtorrent: the files are not right")


# Torrents are made in a process of their own too: hashing a large file takes a while.
ROLES = {
    "torrent": make_torrent, "seeds": as_seeds, "uploader": as_uploader, "leech": as_leech, "checker": as_checker,
}


def role(name, *args):
    """The command that runs one of them."""
    return [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "compare.py"), "--as", name, *args]
