// SPDX-License-Identifier: Apache-2.0
#include "test/support/fake_api.h"

#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <future>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "test/support/files.h"

namespace underpass::test {
namespace json = boost::json;

namespace {

constexpr const char* kNames = "IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc";

const FakeResource& resource_of(std::string_view kind) {
  for (const auto& resource : fake_resources()) {
    if (resource.kind == kind) return resource;
  }
  throw std::runtime_error("the fake API server knows no kind " + std::string(kind));
}

void write(const fs::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::trunc);
  out << text;
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
}

json::object server_version(const std::string& major, const std::string& minor, const std::string& git) {
  return {{"major", major}, {"minor", minor}, {"gitVersion", git}, {"platform", "linux/amd64"}};
}

}  // namespace

FakeApi::FakeApi() : folder_("fake-api"), server_(std::make_unique<FakeServer>()) {
  server_->settings.version = server_version("1", "34", "v1.34.2");
  for (const auto& resource : fake_resources()) {
    if (resource.custom) server_->objects.define(resource, {});
  }
  server_->identify_as(authority_.issue({.name = "kube-apiserver", .names = kNames}), authority());
  server_->listen(0);
  port_ = server_->port();
  fs::create_directory(in_cluster_folder());
  write(in_cluster_folder() / "ca.crt", authority());
  write(in_cluster_folder() / "namespace", "underpass-system");
  thread_ = std::thread([this] { server_->run(); });
  write_token(issue_token());
}

FakeApi::~FakeApi() {
  stop();
  server_->stop();
  thread_.join();
}

void FakeApi::on_server(const std::function<void()>& what) {
  std::packaged_task<void()> task(what);
  auto done = task.get_future();
  server_->post([&task] { task(); });
  done.get();
}

void FakeApi::put(const json::value& object) { put_all({object}); }

void FakeApi::put_all(const std::vector<json::value>& objects) {
  on_server([&] {
    for (const auto& object : objects) server_->objects.put(object);
    server_->wake_watches();
  });
}

void FakeApi::put_broken(const json::value& object, std::string_view from, std::string_view to) {
  on_server([&] {
    server_->objects.put(object, from, to);
    server_->wake_watches();
  });
}

void FakeApi::remove(std::string_view kind, const std::string& ns, const std::string& name) {
  on_server([&] {
    if (!server_->objects.remove(resource_of(kind), {ns, name})) {
      throw std::runtime_error("there is no " + std::string(kind) + " " + ns + "/" + name);
    }
    server_->wake_watches();
  });
}

void FakeApi::define(std::string_view kind, std::vector<std::string> versions) {
  on_server([&] {
    server_->objects.define(resource_of(kind), std::move(versions));
    server_->wake_watches();
  });
}

void FakeApi::undefine(std::string_view kind) {
  on_server([&] {
    server_->objects.undefine(resource_of(kind));
    server_->wake_watches();
  });
}

std::vector<json::value> FakeApi::objects(std::string_view kind) {
  std::vector<json::value> out;
  on_server([&] {
    for (const auto& resource : fake_resources()) {
      if (resource.kind != kind) continue;
      for (const auto& [id, object] : server_->objects.objects(resource)) {
        out.push_back(json::parse(FakeObjects::text(resource, resource.versions.front(), *object, object->version)));
      }
    }
  });
  return out;
}

std::uint64_t FakeApi::version() {
  std::uint64_t version = 0;
  on_server([&] { version = server_->objects.version(); });
  return version;
}

void FakeApi::keep_history(std::size_t changes) {
  on_server([&] { server_->objects.keep_history(changes); });
}

void FakeApi::forget_history() {
  on_server([&] { server_->objects.forget_history(); });
}

void FakeApi::restart_versions_at(std::uint64_t version) {
  on_server([&] { server_->objects.restart_versions_at(version); });
}

std::uint64_t FakeApi::misbehave(Fault fault) {
  const auto number = next_fault_++;
  on_server([&] { server_->faults.emplace_back(number, std::move(fault)); });
  return number;
}

void FakeApi::behave(std::uint64_t fault) {
  on_server([&] { std::erase_if(server_->faults, [&](const auto& entry) { return entry.first == fault; }); });
}

void FakeApi::behave() {
  on_server([&] { server_->faults.clear(); });
}

void FakeApi::stop() {
  on_server([&] { server_->close(); });
}

void FakeApi::start() {
  on_server([&] { server_->listen(port_); });
}

void FakeApi::reset_connections() {
  on_server([&] { server_->reset_connections(); });
}

void FakeApi::identify(Certificate certificate) {
  using std::chrono::hours;
  const auto& issuer = certificate == Certificate::kOtherAuthority ? other_authority_ : authority_;
  FakeSubject subject{.name = "kube-apiserver", .names = kNames};
  if (certificate == Certificate::kOtherName) subject.names = "IP:127.0.0.2,DNS:elsewhere.example";
  if (certificate == Certificate::kExpired) subject.from = -hours(48), subject.until = -hours(1);
  if (certificate == Certificate::kNotYet) subject.from = hours(1), subject.until = hours(48);
  on_server([&] {
    server_->identify_as(issuer.issue(subject), authority());
    server_->reset_connections();
  });
}

std::string FakeApi::issue_token() {
  std::string token = "token-" + std::to_string(++tokens_);
  on_server([&] { server_->settings.tokens.insert(token); });
  return token;
}

void FakeApi::revoke_token(const std::string& token) {
  on_server([&] { server_->settings.tokens.erase(token); });
}

// The kubelet makes a new folder and moves the link ..data to it.
void FakeApi::write_token(const std::string& token) {
  token_ = token;
  const fs::path folder = in_cluster_folder();
  const std::string data = "..data_" + std::to_string(++generation_);
  fs::create_directory(folder / data);
  write(folder / data / "token", token);
  fs::create_symlink(data, folder / "..data_tmp");
  fs::rename(folder / "..data_tmp", folder / "..data");
  if (!fs::is_symlink(folder / "token")) fs::create_symlink("..data/token", folder / "token");
  fs::remove_all(folder / ("..data_" + std::to_string(generation_ - 1)));
}

void FakeApi::set_version(const std::string& major, const std::string& minor, const std::string& git) {
  on_server([&] { server_->settings.version = server_version(major, minor, git); });
}

void FakeApi::set_clock_skew(std::chrono::seconds skew) {
  on_server([&] { server_->settings.clock_skew = skew; });
}

void FakeApi::set_bookmarks(std::chrono::milliseconds every) {
  on_server([&] { server_->settings.bookmarks = every; });
}

void FakeApi::set_compressed_from(std::size_t bytes) {
  on_server([&] { server_->settings.compressed_from = bytes; });
}

std::vector<FakeRequest> FakeApi::requests() {
  std::vector<FakeRequest> out;
  on_server([&] {
    out.assign(std::next(server_->requests.begin(), static_cast<std::ptrdiff_t>(first_request_)),
               server_->requests.end());
  });
  return out;
}

std::size_t FakeApi::count(std::string_view verb, std::string_view collection) {
  return static_cast<std::size_t>(std::ranges::count_if(requests(), [&](const FakeRequest& request) {
    return (verb.empty() || request.verb == verb) && (collection.empty() || request.collection == collection);
  }));
}

std::size_t FakeApi::open_watches(std::string_view collection) {
  return static_cast<std::size_t>(std::ranges::count_if(requests(), [&](const FakeRequest& request) {
    return request.verb == "watch" && !request.finished && request.status == 200 &&
           (collection.empty() || request.collection == collection);
  }));
}

void FakeApi::forget_requests() {
  on_server([&] { first_request_ = server_->requests.size(); });
}

std::string FakeApi::url() const { return "https://127.0.0.1:" + std::to_string(port_); }

}  // namespace underpass::test
