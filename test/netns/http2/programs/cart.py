# SPDX-License-Identifier: Apache-2.0
# A gRPC service and its client, with messages that are bytes: each prints, or answers, what the other sent.
# usage: cart.py server ADDRESS PORT | cart.py client ADDRESS PORT CALL…
import concurrent.futures
import queue
import sys
import threading

import grpc

SERVICE = "shop.Cart"
LARGE = bytes(range(256)) * 8192  # 2 MiB
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def get(request, context):
    context.send_initial_metadata((("x-began", "yes"),))
    context.set_trailing_metadata((("x-length", str(len(request))),))
    return request[::-1]


def take(request, context):
    for number in range(int(request)):
        yield b"item %d" % number


def add(requests, context):
    return b"%d" % sum(int(request) for request in requests)


def chat(requests, context):
    for request in requests:
        yield b"heard " + request
    yield b"done"


def fail(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: \u00e4")


def half(request, context):
    yield b"one"
    context.abort(grpc.StatusCode.DATA_LOSS, "lost the rest")


def serve(target):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=OPTIONS)
    handlers = {"Get": grpc.unary_unary_rpc_method_handler(get), "List": grpc.unary_stream_rpc_method_handler(take),
                "Add": grpc.stream_unary_rpc_method_handler(add), "Chat": grpc.stream_stream_rpc_method_handler(chat),
                "Fail": grpc.unary_unary_rpc_method_handler(fail),
                "Half": grpc.unary_stream_rpc_method_handler(half)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    assert server.add_insecure_port(target) != 0
    server.start()
    server.wait_for_termination()


def call(channel, name):
    path = f"/{SERVICE}/{name}"
    if name == "Get":
        answer, done = channel.unary_unary(path).with_call(b"abc", timeout=20)
        fields = dict(done.initial_metadata()), dict(done.trailing_metadata())
        return answer, fields[0]["x-began"], fields[1]["x-length"], done.code().name
    if name == "Large":
        return channel.unary_unary(f"/{SERVICE}/Get")(LARGE, timeout=20) == LARGE[::-1]
    if name == "List":
        items = list(channel.unary_stream(path)(b"100", timeout=20))
        return len(items), items[0], items[-1]
    if name == "Add":
        return channel.stream_unary(path)(iter([b"1", b"2", b"39"]), timeout=20)
    if name == "Chat":  # each message waits for the answer to the one before
        answers = []
        to_send = queue.Queue()
        calls = channel.stream_stream(path)(iter(to_send.get, None), timeout=20)
        for number in range(50):
            to_send.put(b"%d" % number)
            answers.append(next(calls))
        to_send.put(None)
        answers += calls
        assert answers[:50] == [b"heard %d" % number for number in range(50)]
        return len(answers), answers[-1]
    if name == "Half":
        items = []
        try:
            for item in channel.unary_stream(path)(b"", timeout=20):
                items.append(item)
        except grpc.RpcError as error:
            return items, error.code().name, error.details()
        return items
    if name == "Late":
        calls = channel.stream_stream(f"/{SERVICE}/Chat")(iter([]), timeout=20)
        return list(calls)
    if name == "Deadline":  # nobody ends it
        never = threading.Event()
        try:
            channel.stream_unary(f"/{SERVICE}/Add")(iter(never.wait, None), timeout=0.5)
        finally:
            never.set()
    return channel.unary_unary(path)(b"", timeout=20)


if sys.argv[1] == "server":
    serve(f"{sys.argv[2]}:{sys.argv[3]}")
else:
    with grpc.insecure_channel(f"{sys.argv[2]}:{sys.argv[3]}", options=OPTIONS) as channel:
        for name in sys.argv[4:]:
            try:
                print(name, call(channel, name))
            except grpc.RpcError as error:
                print(name, error.code().value[0], error.code().name, error.details())
