// SPDX-License-Identifier: Apache-2.0
// Datagrams through a Service, of connected and of unconnected sockets, and what becomes of them when a backend goes.
#include <doctest/doctest.h>

#include <array>
#include <cerrno>
#include <functional>

#include "test/netns/services/scene.h"
#include "test/support/sockets.h"

namespace underpass::test {
namespace {

using Names = std::set<std::string>;

constexpr std::array kVips{kVip4, kVip6, "::ffff:10.96.0.1"};

// Forty sockets, asked by `ask` again and again: each has one backend, all of them together have both, and every answer
// comes from the Service's address.
void check_datagrams(const std::function<Answer(const UniqueFd& fd, const Address& vip, bool first)>& ask) {
  Scene scene;
  scene.put_and_wait(Scene::web_service(), {"web-1", "web-2"});
  for (const char* ip : kVips) {
    CAPTURE(std::string(ip));
    const Address vip = Address::of(ip, 53);
    Names answered;
    for (int i = 0; i < 40; ++i) {
      const UniqueFd fd = udp_socket(scene.client(), vip.family());
      const Answer first = ask(fd, vip, true);
      CHECK(first.peer == vip.to_string());
      for (int again = 0; again < 10; ++again) CHECK(ask(fd, vip, false).to_string() == first.to_string());
      answered.insert(first.backend);
    }
    CHECK(answered == Names{"web-1", "web-2"});
  }
}

TEST_CASE("a connected datagram socket has one backend and sees the Service's address") {
  check_datagrams([](const UniqueFd& fd, const Address& vip, bool first) {
    if (first) REQUIRE(connect_udp(fd, vip) == 0);
    return ask_connected(fd);
  });
}

TEST_CASE("an unconnected datagram socket keeps its backend, and answers come from the Service's address") {
  check_datagrams([](const UniqueFd& fd, const Address& vip, bool) { return ask_udp(fd, vip); });
}

TEST_CASE("one unconnected socket and two Services: each answer comes from the right one") {
  Scene scene;
  scene.put_and_wait(Scene::web_service(), {"web-1", "web-2"});
  ServiceObject other = Scene::web_service();
  other.name = "other";
  other.cluster_ips = {"10.96.0.2", "fd00:96::2"};
  other.selector = {{"app", "other"}};
  PodObject pod = scene.world.pod_object("shop", "b");
  pod.labels = {{"app", "other"}};
  pod.ports = {{"web-udp", kTarget, "UDP"}};
  scene.world.objects.put(pod);
  const Responder responder(scene.world.at("b"), kTarget, "b");
  scene.put_and_wait(other, {"b"});
  for (const auto& [first, second] : {std::pair{kVip4, "10.96.0.2"}, std::pair{kVip6, "fd00:96::2"}}) {
    const Address web = Address::of(first, 53);
    const Address others = Address::of(second, 53);
    const UniqueFd fd = udp_socket(scene.client(), web.family());
    const std::string backend = ask_udp(fd, web).backend;
    for (int i = 0; i < 10; ++i) {
      CHECK(ask_udp(fd, others).to_string() == "b as " + others.to_string());
      CHECK(ask_udp(fd, web).to_string() == backend + " as " + web.to_string());
    }
    // Directly to a pod that also is a backend: the answer comes from the pod.
    const UniqueFd direct = udp_socket(scene.client(), web.family());
    const Address at_pod = Address::of(scene.world.at("b").ip(web.family()), kTarget);
    CHECK(ask_udp(direct, at_pod).to_string() == "b as " + at_pod.to_string());
  }
}

// What a call of the socket says once the agent has destroyed it; 0: nothing within a second. Answers that came before
// are taken, so that none is left for later.
int error_within_a_second(const UniqueFd& fd) {
  Answer answer;
  static_cast<void>(eventually(seconds(1), [&] {
    answer = ask_connected(fd, milliseconds(200));
    return answer.error != 0;
  }));
  char byte = 0;
  while (::recv(fd.get(), &byte, 1, MSG_DONTWAIT) >= 0) continue;
  return answer.error;
}

// A connected socket whose backend is `pod`.
// `port`: what it is bound to; 0: nothing.
UniqueFd connected_to(const Scene& scene, const Address& vip, const std::string& pod, std::uint16_t port = 0) {
  for (int i = 0; i < 200; ++i) {
    UniqueFd fd = udp_socket(scene.client(), vip.family());
    const Address own = Address::of(vip.family() == AF_INET6 ? "::" : "0.0.0.0", port);
    if (port != 0) REQUIRE(::bind(fd.get(), own.get(), own.size) == 0);
    REQUIRE(connect_udp(fd, vip) == 0);
    if (ask_connected(fd).backend == pod) return fd;
  }
  throw std::runtime_error("no socket was led to " + pod);
}

UniqueFd unconnected_to(const Scene& scene, const Address& vip, const std::string& pod) {
  for (int i = 0; i < 200; ++i) {
    UniqueFd fd = udp_socket(scene.client(), vip.family());
    if (ask_udp(fd, vip).backend == pod) return fd;
  }
  throw std::runtime_error("no socket was led to " + pod);
}

TEST_CASE("a backend goes: connected datagram sockets fail, others are led elsewhere, TCP goes on") {
  Scene scene;
  for (const char* ip : kVips) {
    CAPTURE(std::string(ip));
    scene.set_ready("web-1", true);
    scene.put_and_wait(Scene::web_service(), {"web-1", "web-2"});
    const Address vip = Address::of(ip, 53);
    const UniqueFd lost = connected_to(scene, vip, "web-1");
    const UniqueFd kept = connected_to(scene, vip, "web-2");
    const UniqueFd loose = unconnected_to(scene, vip, "web-1");
    Connection tcp = open_tcp(scene.client(), Address::of(ip, 80));
    while (tcp.answer.backend != "web-1") tcp = open_tcp(scene.client(), Address::of(ip, 80));

    scene.set_ready("web-1", false);
    const int error = error_within_a_second(lost);
    CAPTURE(error);
    CHECK((error == ECONNABORTED || error == ECONNREFUSED || error == EDESTADDRREQ));
    scene.put_and_wait(Scene::web_service(), {"web-2"});
    CHECK(ask_udp(loose, vip).to_string() == "web-2 as " + vip.to_string());
    CHECK(ask_connected(kept).to_string() == "web-2 as " + vip.to_string());
    send_all(tcp.fd.get(), "still here");
    CHECK(receive_exactly(tcp.fd.get(), 10) == "still here");

    // The application connects anew, with the same socket.
    CHECK(connect_udp(lost, vip) == 0);
    CHECK(ask_connected(lost).to_string() == "web-2 as " + vip.to_string());
  }
}

TEST_CASE("a Service goes: its connected datagram sockets fail, and its address means nothing any more") {
  Scene scene;
  scene.put_and_wait(Scene::web_service(), {"web-1", "web-2"});
  const Address vip = Address::of(kVip4, 53);
  const UniqueFd lost = connected_to(scene, vip, "web-1");
  const UniqueFd loose = unconnected_to(scene, vip, "web-1");
  scene.world.objects.remove_service("shop", "web");
  CHECK(error_within_a_second(lost) != 0);
  scene.wait_gone(vip, IPPROTO_UDP);
  CHECK(ask_udp(loose, vip, milliseconds(200)).error != 0);
  CHECK(eventually(seconds(5), [&] {
    return scene.world.pinned.entries("up_services") == 0 && scene.world.pinned.entries("up_backends") == 0;
  }));
}

TEST_CASE("a socket that was disconnected outlives the backend that it had") {
  Scene scene;
  for (const char* ip : kVips) {
    CAPTURE(std::string(ip));
    scene.set_ready("web-1", true);
    scene.put_and_wait(Scene::web_service(), {"web-1", "web-2"});
    const Address vip = Address::of(ip, 53);
    const UniqueFd fd = connected_to(scene, vip, "web-1", 7777);
    const sockaddr nowhere{.sa_family = AF_UNSPEC, .sa_data = {}};
    REQUIRE(::connect(fd.get(), &nowhere, sizeof(nowhere)) == 0);
    const UniqueFd witness = connected_to(scene, vip, "web-1");
    scene.set_ready("web-1", false);
    CHECK(error_within_a_second(witness) != 0);  // the agent has looked
    int error = -1;
    socklen_t size = sizeof(error);
    REQUIRE(::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0);
    CHECK(error == 0);
    // Of an IPv6 socket the kernel keeps the old peer's address, and drops what comes from others, mesh or no mesh.
    if (vip.family() == AF_INET) CHECK(ask_udp(fd, vip).to_string() == "web-2 as " + vip.to_string());
  }
}

TEST_CASE("a socket that is connected again, elsewhere, is no longer the Service's") {
  Scene scene;
  scene.put_and_wait(Scene::web_service(), {"web-1", "web-2"});
  const UniqueFd fd = connected_to(scene, Address::of(kVip4, 53), "web-1");
  const Address at_pod = Address::of(scene.world.at("web-1").v4, kTarget);
  REQUIRE(connect_udp(fd, at_pod) == 0);
  CHECK(ask_connected(fd).to_string() == "web-1 as " + at_pod.to_string());
  scene.set_ready("web-1", false);
  scene.put_and_wait(Scene::web_service(), {"web-2"});
  CHECK(ask_connected(fd).to_string() == "web-1 as " + at_pod.to_string());
}

}  // namespace
}  // namespace underpass::test
