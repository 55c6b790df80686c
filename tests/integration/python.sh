# python: threads, subprocess, sockets, json, zlib, mmap of a private file, selectors, asyncio, exceptions.
export PYTHONDONTWRITEBYTECODE=1
/usr/bin/python3 - << 'END'
import asyncio, hashlib, json, mmap, os, selectors, signal, socket, sqlite3, subprocess, sys, tempfile, threading, time, zlib
total, lock = 0, threading.Lock()
def add(n):
    global total
    for _ in range(1000):
        with lock: total += n
threads = [threading.Thread(target=add, args=(i,)) for i in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(total)
print(subprocess.run(["sh", "-c", "cat; exit 5"], input=b"to a child", capture_output=True))
data = os.urandom(1000) * 300
assert zlib.decompress(zlib.compress(data)) == data
print(hashlib.sha256(b"x" * 100000).hexdigest()[:16])
with open("f.json", "w") as f: json.dump({str(i): list(range(i)) for i in range(50)}, f)
print(len(json.load(open("f.json"))))
with open("f.json", "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY) as m: m[0:1] = b"["; print(m[:3], len(m))
a, b = socket.socketpair(); s = selectors.DefaultSelector(); s.register(a, selectors.EVENT_READ); print(s.select(0.01)); b.send(b"!"); print(len(s.select(1)))
signal.signal(signal.SIGALRM, lambda *_: print("alarm")); signal.setitimer(signal.ITIMER_REAL, 0.05); time.sleep(0.2)
async def talk():
    server = await asyncio.start_server(lambda r, w: (w.write(b"served"), w.close()), "127.0.0.1", 0)
    r, w = await asyncio.open_connection(*server.sockets[0].getsockname())
    print(await r.read()); w.close(); server.close()
    p = await asyncio.create_subprocess_exec("echo", "async child", stdout=-1); print((await p.communicate())[0])
asyncio.run(talk())
db = sqlite3.connect("p.db"); db.execute("create table t(x)"); db.executemany("insert into t values(?)", [(i,) for i in range(1000)]); db.commit(); print(db.execute("select sum(x) from t").fetchone()); os.unlink("p.db")
with tempfile.TemporaryDirectory() as d: open(d + "/x", "w").write("x"); print(os.listdir(d))
pid = os.fork()
if pid == 0: os._exit(11)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])); print(sorted(sys.modules)[:3]); [][1]
END
echo "$?"
