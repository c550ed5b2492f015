// SPDX-License-Identifier: Apache-2.0
// The way back: lists first, the program last, and not while somebody still needs it.
#include <poll.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <filesystem>
#include <string>
#include <system_error>

#include "agent/cni/installer.h"
#include "agent/cni/list_folder.h"
#include "agent/cni/node_folder.h"
#include "agent/cni/protocol.h"
#include "agent/state/state_file.h"

namespace underpass::cni {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kPatience{2000};  // with somebody who is writing a list
constexpr milliseconds kPause{50};
constexpr std::size_t kLongestCached = std::size_t{16} << 20;
const std::string kProgram{kPluginName};

void pause(milliseconds time) { ::poll(nullptr, 0, static_cast<int>(time.count())); }

bool is_there(const std::string& folder) {
  std::error_code ignored;
  return fs::is_directory(folder, ignored);
}

// True where all is done; false: look again.
Result<bool> leave_lists(const std::string& path, Removal& removal) {
  const auto lists = ListFolder::open(path);
  if (!lists) return std::unexpected(lists.error());
  if (lists->being_written()) return false;
  bool done = true;
  for (const auto& file : lists->files()) {
    if (!file.list && file.text.contains("\"" + kProgram + "\""))
      return fail_in("it names " + kProgram + ", and cannot be read: take the entry out by hand", file.list.error());
    if (!file.names_us()) continue;
    const auto removed = lists->remove_entry(file);
    if (!removed) return std::unexpected(removed.error());
    if (*removed) removal.done.push_back(lists->path_of(file.name) + ": the entry of " + kProgram + " is out");
    done &= *removed;
  }
  return done;
}

Result<void> leave_lists_patiently(const std::string& path, Removal& removal) {
  for (const auto end = Clock::now() + kPatience;;) {
    const auto done = leave_lists(path, removal);
    if (done && *done) return {};
    if (Clock::now() >= end)
      return done ? fail(path + ": somebody is writing a plugin list") : fail(done.error().message);
    pause(kPause);
  }
}

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

std::string decode_base64(std::string_view text) {
  std::string out;
  unsigned bits = 0;
  int held = 0;
  for (const char c : text) {
    const int digit = base64_digit(c);
    if (digit < 0) break;
    bits = (bits << 6U) | static_cast<unsigned>(digit);
    held += 6;
    if (held < 8) continue;
    held -= 8;
    out.push_back(static_cast<char>((bits >> static_cast<unsigned>(held)) & 0xffU));
  }
  return out;
}

// {"kind": "cniCacheV1", "containerId": …, "config": the list in base64, …}, libcni's api.go.
bool was_made_with_us(const std::string& path) {
  const auto text = state::read_state_file(path, kLongestCached);
  if (!text || !*text) return false;
  boost::json::error_code error;
  const auto value = boost::json::parse(**text, error);
  if (error || !value.is_object()) return false;
  const auto* config = value.get_object().if_contains("config");
  if (config == nullptr || !config->is_string()) return false;
  return decode_base64({config->get_string().data(), config->get_string().size()}).contains("\"" + kProgram + "\"");
}

std::size_t count_sandboxes_made_with_us(const std::string& cache_dir) {
  std::size_t count = 0;
  std::error_code error;
  for (fs::directory_iterator at(cache_dir + "/results", error), end; !error && at != end; at.increment(error))
    if (was_made_with_us(at->path().string())) ++count;
  return count;
}

}  // namespace

Result<Removal> uninstall(const InstallOptions& options) {
  Removal removal;
  if (is_there(options.conf_dir))
    if (auto left = leave_lists_patiently(options.conf_dir, removal); !left) return std::unexpected(left.error());
  if (!is_there(options.bin_dir)) return removal;
  // What a runtime has begun by a list of before is done then, and in the cache.
  if (!removal.done.empty()) pause(options.grace);
  if (const auto count = count_sandboxes_made_with_us(options.cache_dir); count > 0) {
    removal.left = options.bin_dir + "/" + kProgram + ": stays, since " + std::to_string(count) +
                   " sandboxes were made with it and may need it to end: run `" + kProgram +
                   " uninstall` again when they are gone";
    return removal;
  }
  const auto folder = NodeFolder::open(options.bin_dir);
  if (!folder) return std::unexpected(folder.error());
  const bool there = folder->has(kProgram);
  for (const auto& name : {std::string(kUnfinished), kProgram})
    if (auto removed = folder->remove(name); !removed) return std::unexpected(removed.error());
  if (there) removal.done.push_back(folder->path_of(kProgram) + ": removed");
  return removal;
}

}  // namespace underpass::cni
