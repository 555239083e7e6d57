"""A stand-in for the Hugging Face Hub: enough of its HTTP API for the real huggingface_hub / datasets clients.

It listens on this machine alone. `FakeHub` runs in a thread: `url`, `log` of requests, `repos`. The clients read
HF_ENDPOINT when they are imported, so they run in processes of their own (see the fixture `hub`).
"""

import base64
import fnmatch
import hashlib
import json
import re
import socket
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LFS_GLOBS = (
    "*.parquet",
    "*.arrow",
    "*.safetensors",
    "*.bin",
    "*.pt",
    "*.npz",
    "*.npy",
    "*.zip",
    "*.tar",
    "*.png",
    "*.JPEG",
    "*.jpg",
)
LFS_MIN = 10 * 1024 * 1024


class Err(Exception):
    def __init__(self, status, code=None, msg="", **headers):
        self.status, self.code, self.msg, self.headers = status, code, msg, headers


def git_oid(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Blob:
    def __init__(self, data, lfs):
        self.data, self.lfs, self.sha256 = data, lfs, hashlib.sha256(data).hexdigest()
        self.pointer = (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(data)}\n".encode()
        )
        self.oid = git_oid(self.pointer if lfs else data)
        self.etag = self.sha256 if lfs else self.oid

    def info(self, path):
        d = {"type": "file", "path": path, "size": len(self.data), "oid": self.oid}
        if self.lfs:
            d["lfs"] = {"oid": self.sha256, "size": len(self.data), "pointerSize": len(self.pointer)}
        return d


class Repo:
    def __init__(self, kind, rid, private=False):
        self.kind, self.id, self.private, self.n = kind, rid, private, 0
        self.gated = False  # then files are refused, as to a user who has not accepted the terms
        self.commits, self.refs, self.parents, self.titles = {}, {}, {}, {}
        self.add(
            {".gitattributes": Blob(b"*.parquet filter=lfs diff=lfs merge=lfs -text\n", False)},
            "main",
            "initial commit",
        )

    def add(self, tree, ref, title):
        self.n += 1
        sha = hashlib.sha1(f"{self.kind}/{self.id}/{self.n}/{title}".encode()).hexdigest()
        self.commits[sha], self.parents[sha], self.titles[sha] = tree, self.refs.get(ref), title
        self.refs[ref] = sha
        return sha

    def sha(self, rev):
        rev = unquote(rev or "main")
        sha = self.refs.get(rev) or (rev if rev in self.commits else None)
        if sha is None:
            raise Err(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        return sha


class FakeHub:
    def __init__(self, port=0, token=None, user="tester", lfs=True):
        self.repos, self.lfs_store, self.log, self.token, self.user, self.use_lfs = {}, {}, [], token, user, lfs
        self.lock = threading.RLock()
        self.readers = set()  # tokens that may read and not write
        self.cuts = []  # [method, part of the path, how often]: the connection is cut in the middle of these
        self.refusals = []  # (method, part of the path, Err): answers these requests get
        self.xet = None  # address of the XET storage, where large files are said to lie; None: there is none
        hub = self

        class H(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm, wbufsize = True, -1  # else every request costs 40 ms (delayed ACK)

            def log_message(self, *a):
                pass

            def handle_any(self):
                n = int(self.headers.get("Content-Length") or 0)
                if self.command == "PUT" and hub.cut(self.command, self.path):
                    self.rfile.read(n // 2)
                    self.hang_up()
                    return
                if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
                    body = b""
                    while size := int(self.rfile.readline().split(b";")[0], 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(n)
                hub.log.append((self.command, self.path, None))
                i = len(hub.log) - 1
                try:
                    with hub.lock:
                        status, headers, out = hub.dispatch(self.command, self.path, self.headers, body)
                except Err as e:
                    status, out = e.status, json.dumps({"error": e.msg or e.code}).encode()
                    headers = {"Content-Type": "application/json", **e.headers}
                    if e.code:
                        headers["X-Error-Code"] = e.code
                    if e.msg:
                        headers["X-Error-Message"] = e.msg
                hub.log[i] = (self.command, self.path, status)
                self.send_response(status)
                for k, v in headers.items():
                    self.send_header(k, v)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(out)))
                self.end_headers()
                if self.command == "GET" and hub.cut(self.command, self.path):
                    self.wfile.write(out[: len(out) // 2])
                    self.wfile.flush()
                    self.hang_up()
                    return
                if self.command != "HEAD":
                    self.wfile.write(out)

            def hang_up(self):
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = handle_any

        self.server = ThreadingHTTPServer(("127.0.0.1", port), H)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def start(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    __enter__ = start

    def __exit__(self, *a):
        self.stop()

    # ---- routing
    ROUTES = [
        (m, re.compile(p + r"$"), f)
        for m, p, f in [
            ("GET", r"/api/whoami-v2", "whoami"),
            ("POST", r"/api/validate-yaml", "validate"),
            ("POST", r"/api/repos/create", "create"),
            ("DELETE", r"/api/repos/delete", "delete"),
            ("POST", r"/api/(?P<k>model|dataset|space)s/(?P<r>.+)/preupload/(?P<rev>[^/]+)", "preupload"),
            ("POST", r"/api/(?P<k>model|dataset|space)s/(?P<r>.+)/commit/(?P<rev>[^/]+)", "commit"),
            ("GET", r"/api/(?P<k>model|dataset|space)s/(?P<r>.+?)/tree/(?P<rev>[^/]+)(?:/(?P<path>.*))?", "tree"),
            ("POST", r"/api/(?P<k>model|dataset|space)s/(?P<r>.+)/paths-info/(?P<rev>[^/]+)", "paths_info"),
            ("GET", r"/api/(?P<k>model|dataset|space)s/(?P<r>.+)/refs", "refs"),
            ("GET", r"/api/(?P<k>model|dataset|space)s/(?P<r>.+)/commits/(?P<rev>[^/]+)", "commits"),
            ("POST", r"/api/(?P<k>model|dataset|space)s/(?P<r>.+)/branch/(?P<rev>[^/]+)", "branch"),
            ("POST", r"/api/(?P<k>model|dataset|space)s/(?P<r>.+)/tag/(?P<rev>[^/]+)", "tag"),
            ("PUT", r"/api/(?P<k>model|dataset|space)s/(?P<r>.+)/settings", "settings"),
            ("GET", r"/api/(?P<k>model|dataset|space)s/(?P<r>.+)/xet-(?:read|write)-token/(?P<rev>[^/]+)", "xet_token"),
            ("GET", r"/api/(?P<k>model|dataset|space)s/(?P<r>.+?)(?:/revision/(?P<rev>[^/]+))?", "info"),
            ("POST", r"/(?:(?P<k>dataset|space)s/)?(?P<r>.+)\.git/info/lfs/objects/batch", "lfs_batch"),
            ("PUT", r"/_lfs/(?P<oid>[0-9a-f]{64})", "lfs_put"),
            (
                "HEAD|GET",
                r"/(?:(?P<k>dataset|space)s/)?(?P<r>[^/]+(?:/[^/]+)?)/resolve/(?P<rev>[^/]+)/(?P<path>.+)",
                "resolve",
            ),
        ]
    ]
    WRITES = {"create", "delete", "preupload", "commit", "branch", "tag", "lfs_batch", "settings", "whoami"}

    def cut(self, method, path):
        """Whether to cut this request."""
        for entry in self.cuts:
            if entry[0] == method and entry[1] in path and entry[2] > 0:
                entry[2] -= 1
                return True
        return False

    def dispatch(self, method, url, headers, body):
        u = urlsplit(url)
        for wanted, part, error in self.refusals:
            if method == wanted and part in u.path:
                raise error
        for m, rx, name in self.ROUTES:
            if method in m.split("|") and (mt := rx.match(u.path)):
                auth = headers.get("Authorization", "")
                if name in self.WRITES and (
                    not auth.startswith("Bearer ")
                    or (self.token and auth.removeprefix("Bearer ") not in {self.token, *self.readers})
                ):
                    raise Err(401, None, "Invalid username or password.")
                if name in self.WRITES - {"whoami"} and auth.removeprefix("Bearer ") in self.readers:
                    raise Err(403, None, "Forbidden: this token may only read.")
                kw = mt.groupdict()
                kind, rid = kw.pop("k", None) or "model", kw.pop("r", None)
                if rid is not None:
                    repo = self.repos.get((kind, rid))
                    wrong = self.token and auth and auth.removeprefix("Bearer ") not in {self.token, *self.readers}
                    if wrong:
                        raise Err(401, None, "Invalid credentials in Authorization header")
                    if repo is None or (repo.private and not auth):
                        raise Err(404 if auth else 401, "RepoNotFound", "Repository not found")
                    kw["repo"] = repo
                out = getattr(self, "r_" + name)(body=body, q=parse_qs(u.query), headers=headers, **kw)
                return (
                    out
                    if isinstance(out, tuple)
                    else (200, {"Content-Type": "application/json"}, json.dumps(out).encode())
                )
        raise Err(404, None, f"hub stand-in: no route {method} {u.path}")

    def r_xet_token(self, **_):
        if self.xet is None:
            raise Err(404, None, "no XET here")
        info = {"casUrl": self.xet, "exp": 4102444800, "accessToken": "t"}
        headers = {"X-Xet-Cas-Url": self.xet, "X-Xet-Token-Expiration": "4102444800", "X-Xet-Access-Token": "t"}
        return 200, {"Content-Type": "application/json", **headers}, json.dumps(info).encode()

    def r_whoami(self, **_):
        return {
            "type": "user",
            "name": self.user,
            "fullname": self.user,
            "orgs": [],
            "auth": {"accessToken": {"role": "write", "displayName": "t"}},
        }

    def r_validate(self, **_):
        return {"errors": [], "warnings": []}

    def r_create(self, body, **_):
        b = json.loads(body)
        kind = b.get("type") or "model"
        rid = f"{b.get('organization') or self.user}/{b['name']}"
        url = f"{self.url}/{'' if kind == 'model' else kind + 's/'}{rid}"
        if (kind, rid) in self.repos:
            return (
                409,
                {"Content-Type": "application/json"},
                json.dumps({"error": "You already created this repo", "url": url}).encode(),
            )
        self.repos[kind, rid] = Repo(kind, rid, b.get("private") or b.get("visibility") == "private")
        return {"url": url, "name": rid, "id": rid}

    def r_delete(self, body, **_):
        b = json.loads(body)
        key = (b.get("type") or "model", f"{b.get('organization') or self.user}/{b['name']}")
        if key not in self.repos:
            raise Err(404, "RepoNotFound", "Repository not found")
        del self.repos[key]
        return {}

    def r_preupload(self, repo, rev, body, **_):
        tree = repo.commits[repo.sha(rev)]
        out = []
        for f in json.loads(body)["files"]:
            lfs = self.use_lfs and (f["size"] > LFS_MIN or any(fnmatch.fnmatch(f["path"], g) for g in LFS_GLOBS))
            old = tree.get(f["path"])
            out.append(
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if lfs else "regular",
                    "shouldIgnore": False,
                    **({"oid": old.etag} if old else {}),
                }
            )
        return {"files": out}

    def r_lfs_batch(self, repo, body, **_):
        objs = []
        for o in json.loads(body)["objects"]:
            have = o["oid"] in self.lfs_store
            objs.append(
                {
                    "oid": o["oid"],
                    "size": o["size"],
                    "authenticated": True,
                    **({} if have else {"actions": {"upload": {"href": f"{self.url}/_lfs/{o['oid']}"}}}),
                }
            )
        return (
            200,
            {"Content-Type": "application/vnd.git-lfs+json"},
            json.dumps({"transfer": "basic", "objects": objs}).encode(),
        )

    def r_lfs_put(self, oid, body, **_):
        if hashlib.sha256(body).hexdigest() != oid:
            raise Err(400, None, "sha256 mismatch")
        self.lfs_store[oid] = body
        return 200, {}, b""

    def r_commit(self, repo, rev, body, q, **_):
        rev = unquote(rev)
        parent = repo.sha(rev)
        tree = dict(repo.commits[parent])
        title = ""
        for line in body.splitlines():
            if not line.strip():
                continue
            item = json.loads(line)
            v = item["value"]
            if item["key"] == "header":
                title = v["summary"]
                if v.get("parentCommit") and v["parentCommit"] != parent:
                    raise Err(412, None, "A commit has happened since. Please refresh and try again.")
            elif item["key"] == "file":
                tree[v["path"]] = Blob(base64.b64decode(v["content"]), False)
            elif item["key"] == "lfsFile":
                if v["oid"] not in self.lfs_store:
                    raise Err(400, None, f"LFS object {v['oid']} was not uploaded")
                tree[v["path"]] = Blob(self.lfs_store[v["oid"]], True)
            elif item["key"] == "deletedFile":
                if v["path"] not in tree:
                    raise Err(404, "EntryNotFound", "A file with this name doesn't exist")
                del tree[v["path"]]
            elif item["key"] == "deletedFolder":
                pre = v["path"].rstrip("/") + "/"
                for p in [p for p in tree if p.startswith(pre)]:
                    del tree[p]
            elif item["key"] == "copyFile":
                tree[v["path"]] = repo.commits[repo.sha(v.get("srcRevision") or parent)][v["srcPath"]]
            else:
                raise Err(400, None, f"unknown commit key {item['key']}")
        pr = q.get("create_pr") == ["1"]
        ref = f"refs/pr/{sum(r.startswith('refs/pr/') for r in repo.refs) + 1}" if pr else rev
        if pr:
            repo.refs[ref] = parent
        sha = repo.add(tree, ref, title)
        base = f"{self.url}/{'' if repo.kind == 'model' else repo.kind + 's/'}{repo.id}"
        return {
            "success": True,
            "commitOid": sha,
            "commitUrl": f"{base}/commit/{sha}",
            "hookOutput": "",
            **({"pullRequestUrl": f"{base}/discussions/{ref.split('/')[-1]}"} if pr else {}),
        }

    def r_info(self, repo, rev=None, **_):
        sha = repo.sha(rev)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return {
            "_id": "0" * 24,
            "id": repo.id,
            "author": repo.id.split("/")[0],
            "sha": sha,
            "private": bool(repo.private),
            "gated": repo.gated and "auto",
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "createdAt": now,
            "lastModified": now,
            "siblings": [{"rfilename": p, "size": len(b.data)} for p, b in sorted(repo.commits[sha].items())],
        }

    def entries(self, repo, sha, path, recursive):
        tree, pre, dirs, out = repo.commits[sha], (path.rstrip("/") + "/" if path else ""), {}, []
        for p, b in sorted(tree.items()):
            if p.startswith(pre):
                parts = p[len(pre) :].split("/")
                for i in range(1, len(parts)):
                    if recursive or i == 1:
                        dirs[pre + "/".join(parts[:i])] = 1
                if recursive or len(parts) == 1:
                    out.append(b.info(p))
        return [
            {"type": "directory", "path": d, "size": 0, "oid": hashlib.sha1(f"{sha}{d}".encode()).hexdigest()}
            for d in dirs
        ] + out

    def _expand(self, repo, sha, e):
        return {**e, "lastCommit": {"id": sha, "title": repo.titles[sha], "date": "2024-01-01T00:00:00.000Z"}}

    def r_tree(self, repo, rev, q, path=None, **_):
        sha = repo.sha(rev)
        path = unquote(path or "")
        out = self.entries(repo, sha, path, q.get("recursive", ["false"])[0].lower() in ("true", "1"))
        if path and not out:
            raise Err(404, "EntryNotFound", f"{path} does not exist on {unquote(rev)}")
        return (
            [self._expand(repo, sha, e) for e in out] if q.get("expand", ["false"])[0].lower() in ("true", "1") else out
        )

    def r_paths_info(self, repo, rev, body, headers, **_):
        sha = repo.sha(rev)
        f = json.loads(body) if "json" in (headers.get("Content-Type") or "") else parse_qs(body.decode())
        everything = {e["path"]: e for e in self.entries(repo, sha, "", True)}
        out = [everything[p] for p in f.get("paths", []) if p in everything]
        return (
            [self._expand(repo, sha, e) for e in out]
            if str(f.get("expand", ["false"])).lower().find("true") >= 0
            else out
        )

    def r_refs(self, repo, **_):
        def pick(pre, keep):
            return [
                {"name": r[len(pre) :], "ref": (pre and r) or f"refs/heads/{r}", "targetCommit": s}
                for r, s in repo.refs.items()
                if keep(r)
            ]

        return {
            "branches": pick("", lambda r: not r.startswith("refs/")),
            "converts": [],
            "tags": pick("refs/tags/", lambda r: r.startswith("refs/tags/")),
            "pullRequests": [],
        }

    def r_commits(self, repo, rev, **_):
        sha, out = repo.sha(rev), []
        while sha:
            out.append(
                {
                    "id": sha,
                    "title": repo.titles[sha],
                    "message": "",
                    "authors": [{"user": self.user}],
                    "date": "2024-01-01T00:00:00.000Z",
                }
            )
            sha = repo.parents[sha]
        return out

    def r_branch(self, repo, rev, body, **_):
        b = json.loads(body or b"{}")
        rev = unquote(rev)
        if rev in repo.refs:
            raise Err(409, None, "Reference already exists")
        repo.refs[rev] = repo.sha(b.get("startingPoint"))
        return {}

    def r_tag(self, repo, rev, body, **_):
        repo.refs[json.loads(body)["tag"]] = repo.sha(rev)
        return {}

    def r_settings(self, repo, body, **_):
        settings = json.loads(body)
        repo.private = settings.get("private", settings.get("visibility") == "private")
        return {}

    def r_resolve(self, repo, rev, path, headers, **_):
        if repo.gated:
            raise Err(403, "GatedRepo", "Access to this dataset is restricted and you are not in the authorized list.")
        sha = repo.sha(rev)
        blob = repo.commits[sha].get(unquote(path))
        if blob is None:
            raise Err(404, "EntryNotFound", "Entry not found", **{"X-Repo-Commit": sha})
        data, h = (
            blob.data,
            {
                "ETag": f'"{blob.etag}"',
                "X-Repo-Commit": sha,
                "Accept-Ranges": "bytes",
                "Content-Type": "application/octet-stream",
            },
        )
        if blob.lfs:
            h |= {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(data))}
        if blob.lfs and self.xet is not None:
            token = f"{self.url}/api/{repo.kind}s/{repo.id}/xet-read-token/{sha}"
            h |= {"X-Xet-Hash": blob.sha256, "Link": f'<{token}>; rel="xet-auth"'}
        if m := re.match(r"bytes=(\d+)-(\d*)$", headers.get("Range") or ""):
            a, z = int(m[1]), min(int(m[2] or len(data) - 1), len(data) - 1)
            if a >= len(data):
                raise Err(416, None, "range", **{"Content-Range": f"bytes */{len(data)}"})
            h |= {"Content-Range": f"bytes {a}-{z}/{len(data)}", "Content-Length": str(z - a + 1)}
            return 206, h, data[a : z + 1]
        return 200, {**h, "Content-Length": str(len(data))}, data
