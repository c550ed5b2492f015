// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/netns.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <thread>

namespace underpass::dataplane {
namespace {

#ifndef SO_NETNS_COOKIE
constexpr int SO_NETNS_COOKIE = 71;
#endif

// Of the calling thread's namespace.
Result<NetnsCookie> current_cookie() {
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno("socket");
  NetnsCookie cookie = 0;
  socklen_t size = sizeof(cookie);
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0)
    return fail_errno("SO_NETNS_COOKIE (needs Linux 5.14)");
  return cookie;
}

Result<std::vector<IpAddress>> current_addresses() {
  ifaddrs* raw = nullptr;
  if (::getifaddrs(&raw) != 0) return fail_errno("getifaddrs");
  std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> list(raw, &::freeifaddrs);
  std::vector<IpAddress> out;
  for (const ifaddrs* entry = list.get(); entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    up_addr address{};
    if (entry->ifa_addr->sa_family == AF_INET) {
      address.bytes[10] = address.bytes[11] = 0xff;
      std::memcpy(address.bytes + 12, &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr, 4);
    } else if (entry->ifa_addr->sa_family == AF_INET6) {
      std::memcpy(address.bytes, &reinterpret_cast<const sockaddr_in6*>(entry->ifa_addr)->sin6_addr, 16);
    } else {
      continue;
    }
    out.emplace_back(address);
  }
  return out;
}

}  // namespace

Result<UniqueFd> open_netns(const std::string& path) {
  // O_NONBLOCK: whatever stands at this path, opening it must not wait.
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return fail_errno("network namespace " + path);
  struct statfs info{};
  if (::fstatfs(fd.get(), &info) != 0 || info.f_type != NSFS_MAGIC || ::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET)
    return fail("network namespace " + path + ": is no network namespace");
  return fd;
}

Result<void> run_in_netns(int netns_fd, const std::function<Result<void>()>& work) {
  Result<void> result;
  std::thread([&] {
    if (::setns(netns_fd, CLONE_NEWNET) != 0)
      result = fail_errno("setns");
    else
      result = work();
  }).join();
  return result;
}

Result<compile::NetnsFact> probe_netns(const std::string& path) {
  auto fd = open_netns(path);
  if (!fd) return std::unexpected(fd.error());
  compile::NetnsFact fact;
  auto done = run_in_netns(fd->get(), [&fact, &path]() -> Result<void> {
    auto cookie = current_cookie();
    if (!cookie) return std::unexpected(cookie.error());
    auto addresses = current_addresses();
    if (!addresses) return std::unexpected(addresses.error());
    fact = {.cookie = *cookie, .addresses = std::move(*addresses), .path = path};
    return {};
  });
  if (!done) return fail_in("network namespace " + path, done.error());
  return fact;
}

void visit_netns(const std::function<bool(NetnsCookie, UniqueFd)>& visit) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  std::vector<std::string> paths;
  for (const auto& entry : fs::directory_iterator("/var/run/netns", ignored)) paths.push_back(entry.path());
  for (const auto& entry : fs::directory_iterator("/proc", ignored))
    if (std::isdigit(static_cast<unsigned char>(entry.path().filename().string()[0])) != 0)
      paths.push_back(entry.path() / "ns/net");
  std::set<ino_t> seen;
  for (const auto& path : paths) {
    struct stat info{};
    if (::stat(path.c_str(), &info) != 0 || !seen.insert(info.st_ino).second) continue;
    auto fd = open_netns(path);
    if (!fd) continue;
    NetnsCookie cookie = 0;
    const auto done = run_in_netns(fd->get(), [&cookie]() -> Result<void> {
      auto current = current_cookie();
      if (!current) return std::unexpected(current.error());
      cookie = *current;
      return {};
    });
    if (done && !visit(cookie, std::move(*fd))) return;
  }
}

std::map<NetnsCookie, UniqueFd> find_netns(const std::set<NetnsCookie>& cookies) {
  std::map<NetnsCookie, UniqueFd> out;
  visit_netns([&](NetnsCookie cookie, UniqueFd fd) {
    if (cookies.contains(cookie)) out.emplace(cookie, std::move(fd));
    return out.size() < cookies.size();
  });
  return out;
}

std::optional<UniqueFd> find_netns(NetnsCookie cookie) {
  auto found = find_netns(std::set{cookie});
  if (found.empty()) return std::nullopt;
  return std::move(found.begin()->second);
}

}  // namespace underpass::dataplane
