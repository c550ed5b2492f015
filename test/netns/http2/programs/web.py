# SPDX-License-Identifier: Apache-2.0
# http.server, and what http.client and urllib see of it.
# usage: web.py server|client ADDRESS PORT
import hashlib
import http.client
import http.server
import sys
import urllib.error
import urllib.request

BODY = bytes(range(256)) * 4096  # 1 MiB


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, fields=()):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        if self.path == "/chunks":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for at in range(0, len(BODY), 100000):
                piece = BODY[at:at + 100000]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        elif self.path == "/moved":
            self.answer(302, b"", [("Location", "/here?a=b%20c")])
        elif self.path.startswith("/here"):
            self.answer(200, self.path.encode(), [("X-Two", "1"), ("X-Two", "2")])
        elif self.path == "/none":
            self.send_response(204)
            self.end_headers()
        else:
            self.answer(404, b"nothing here")

    do_HEAD = do_GET

    def do_POST(self):
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201, body)

    do_PUT = do_POST


def digest(body):
    return f"{len(body)}:{hashlib.sha256(body).hexdigest()[:12]}"


def client(address, port):
    connection = http.client.HTTPConnection(address, port, timeout=20)
    first = None
    for method, path, body, chunked in [("GET", "/here?x=1", None, False), ("HEAD", "/here", None, False),
                                        ("GET", "/chunks", None, False), ("GET", "/none", None, False),
                                        ("GET", "/nowhere", None, False), ("POST", "/", BODY, False),
                                        ("PUT", "/", b"", False),
                                        ("POST", "/", (BODY[at:at + 5000] for at in range(0, 300000, 5000)), True)]:
        fields = {"Transfer-Encoding": "chunked"} if chunked else {}
        connection.request(method, path, body=body, headers=fields, encode_chunked=chunked)
        answer = connection.getresponse()
        print(method, path, answer.status, answer.reason, digest(answer.read()), answer.headers.get_all("X-Two"))
        first = first or connection.sock
        assert connection.sock is first, "another connection"
    base = f"http://{address}:{port}"
    with urllib.request.urlopen(base + "/moved", timeout=20) as answer:
        print("urllib", answer.status, answer.url.removeprefix(base), answer.read().decode())
    with urllib.request.urlopen(base + "/", data=BODY, timeout=20) as answer:
        print("urllib", answer.status, digest(answer.read()))
    try:
        urllib.request.urlopen(base + "/nowhere", timeout=20)
    except urllib.error.HTTPError as error:
        print("urllib", error.code, error.read().decode())


if sys.argv[1] == "server":
    http.server.ThreadingHTTPServer((sys.argv[2], int(sys.argv[3])), Handler).serve_forever()
else:
    client(sys.argv[2], int(sys.argv[3]))
