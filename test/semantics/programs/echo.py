# SPDX-License-Identifier: Apache-2.0
# An HTTP server that returns what it is sent, and a client that checks it.
import hashlib
import http.server
import socket
import sys
import urllib.request

role, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
    daemon_threads = True


if role == "server":
    try:
        Server((address, port), Echo).serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)

host = f"[{address}]" if ":" in address else address
right = 0
for i in range(12):
    body = hashlib.sha256(str(i).encode()).digest() * (1 << (i + 3))
    with urllib.request.urlopen(f"http://{host}:{port}/", data=body, timeout=20) as answer:
        right += answer.read() == body
print(right, "answers are right")
