// SPDX-License-Identifier: Apache-2.0
#include "agent/admin/detached_marker.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>

#include "underpass/unique_fd.h"

namespace underpass::admin {
namespace {

namespace json = boost::json;

constexpr std::size_t kLongestFile = 1024UL * 1024;

// Absent where the file does not exist.
Result<std::optional<std::string>> read_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) return std::nullopt;
    return fail_errno("open " + path);
  }
  std::string text(kLongestFile + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(fd.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read " + path);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > kLongestFile) return fail(path + ": longer than " + std::to_string(kLongestFile) + " bytes");
  text.resize(size);
  return text;
}

Result<void> write_synced(const std::string& path, std::string_view text) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR));
  if (!fd) return fail_errno("create " + path);
  while (!text.empty()) {
    const ssize_t written = ::write(fd.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno("write " + path);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fsync(fd.get()) != 0) return fail_errno("sync " + path);
  return {};
}

Result<void> sync_folder(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return fail_errno("sync folder " + path);
  return {};
}

std::string encode(const DetachedMarker& marker) {
  json::object fields{{"node", marker.node}};
  json::array& namespaces = fields["namespaces"].emplace_array();
  for (const std::string& name : marker.namespaces) namespaces.emplace_back(name);
  fields["since"] = marker.since;
  return json::serialize(fields) + "\n";
}

Result<DetachedMarker> decode(std::string_view text) {
  json::error_code error;
  const json::value value = json::parse(text, error);
  if (error) return fail("not JSON: " + error.message());
  const json::object* fields = value.if_object();
  if (fields == nullptr) return fail("not a JSON object");

  DetachedMarker marker;
  const json::value* node = fields->if_contains("node");
  if (node == nullptr || !node->is_bool()) return fail("node: not a boolean");
  marker.node = node->get_bool();

  const json::value* namespaces = fields->if_contains("namespaces");
  if (namespaces == nullptr || !namespaces->is_array()) return fail("namespaces: not a list");
  for (const json::value& name : namespaces->get_array()) {
    if (!name.is_string() || name.get_string().empty()) return fail("namespaces: holds something that is not a name");
    marker.namespaces.emplace(name.get_string());
  }

  const json::value* since = fields->if_contains("since");
  if (since == nullptr || !since->is_string()) return fail("since: not a time");
  marker.since = since->get_string();
  return marker;
}

}  // namespace

std::string detached_marker_path(const std::string& state_dir) { return state_dir + "/detached"; }

Result<DetachedMarker> load_detached_marker(const std::string& state_dir) {
  const std::string path = detached_marker_path(state_dir);
  const Result<std::optional<std::string>> text = read_file(path);
  if (!text) return std::unexpected(text.error());
  if (!*text) return DetachedMarker{};
  Result<DetachedMarker> marker = decode(**text);
  if (!marker) return fail_in(path, marker.error());
  return marker;
}

Result<void> save_detached_marker(const std::string& state_dir, const DetachedMarker& marker) {
  const std::string path = detached_marker_path(state_dir);
  if (marker.is_empty()) {
    if (::unlink(path.c_str()) == 0) return sync_folder(state_dir);
    if (errno == ENOENT) return {};
    return fail_errno("remove " + path);
  }
  std::error_code error;
  std::filesystem::create_directories(state_dir, error);
  if (error) return fail("make folder " + state_dir + ": " + error.message());

  const std::string next = path + ".new";
  if (Result<void> written = write_synced(next, encode(marker)); !written) return written;
  if (::rename(next.c_str(), path.c_str()) != 0) return fail_errno("rename " + next + " to " + path);
  return sync_folder(state_dir);
}

}  // namespace underpass::admin
