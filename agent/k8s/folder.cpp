// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <expected>
#include <utility>

#include "agent/k8s/yaml.h"
#include "underpass/result.h"

namespace underpass::k8s {
namespace {

bool is_ours(std::string_view name) { return !name.starts_with('.') && name.ends_with(".yaml"); }

// The names of ours in a folder, sorted.
Result<std::set<std::string>> list_names(int dir_fd) {
  // A descriptor of its own: a stream moves the position and closes the descriptor.
  const int own_fd = ::openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (own_fd < 0) return fail_errno("list");
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(own_fd), ::closedir);
  if (!stream) {
    const int error = errno;
    ::close(own_fd);
    return fail_errno("list", error);
  }
  std::set<std::string> names;
  for (;;) {
    errno = 0;
    const auto* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    if (is_ours(entry->d_name)) names.insert(entry->d_name);
  }
  if (errno != 0) return fail_errno("list");
  return names;
}

}  // namespace

File decode_file(const std::string& path, std::string_view text, const DecodeOptions& options) {
  File file{.path = path, .items = {}, .unreadable = {}};
  const auto documents = parse_yaml(text);
  if (!documents) {
    file.unreadable.push_back({path + ":" + std::to_string(documents.error().line), documents.error().cause});
    return file;
  }
  for (const auto& document : *documents) {
    decode_document(document.value, path + ":" + std::to_string(document.line), options, file);
  }
  return file;
}

bool Folder::rescan(int dir_fd, const std::set<std::string>& touched) {
  const auto names = list_names(dir_fd);
  if (!names) return lose(names.error().message);
  // What is left of a mount that went, or a folder made anew that is yet to be filled.
  if (lost() && names->empty() && !entries_.empty()) return lose("came back empty");

  bool changed = std::erase_if(entries_, [&](const auto& entry) { return !names->contains(entry.first); }) > 0;
  std::erase_if(links_, [&](const auto& name) { return !names->contains(name); });
  for (const auto& name : *names) changed |= take(dir_fd, name, touched.contains(name));
  return finish(changed);
}

bool Folder::refresh(int dir_fd, const std::set<std::string>& touched) {
  bool changed = false;
  const auto links = links_;
  for (const auto& name : links)
    if (!touched.contains(name)) changed |= take(dir_fd, name, false);
  for (const auto& name : touched)
    if (is_ours(name)) changed |= take(dir_fd, name, true);
  return finish(changed);
}

// True if the file is new, another or gone.
bool Folder::take(int dir_fd, const std::string& name, bool touched) {
  struct stat status{};
  if (::fstatat(dir_fd, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(status.st_mode))
    links_.insert(name);
  else
    links_.erase(name);
  const bool known = entries_.contains(name);
  const auto outcome = read(dir_fd, name, touched, entries_[name]);
  if (outcome != Outcome::kGone) return outcome != Outcome::kUnchanged;
  entries_.erase(name);
  links_.erase(name);
  return known;
}

bool Folder::finish(bool changed) {
  changed |= lost();
  contents_ = {};
  contents_.files.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) contents_.files.push_back(entry.file);
  return changed;
}

Folder::Outcome Folder::read(int dir_fd, const std::string& name, bool touched, Entry& entry) const {
  struct stat status{};
  const bool looks_unchanged = ::fstatat(dir_fd, name.c_str(), &status, 0) == 0 && entry.stamp == make_stamp(status);
  if (looks_unchanged && !touched) return Outcome::kUnchanged;

  const auto path = (path_ / name).string();
  auto read = read_file(dir_fd, name, kMaxFileBytes);
  entry.being_written = !read && read.error().kind == ReadError::Kind::kWriting;
  entry.stamp = read ? std::optional(read->stamp) : std::nullopt;
  if (!read && read.error().kind == ReadError::Kind::kGone) return Outcome::kGone;
  if (!read) return set_unreadable(entry, path, std::move(read.error().cause));
  // A disk that was full, a machine that stopped, a writer that gave up: an empty file is rarely what was meant.
  if (read->text.empty() && entry.held_something) {
    return set_unreadable(entry, path, "empty: delete the file to delete what it held");
  }
  entry.file = std::make_shared<const File>(decode_file(path, read->text, options_));
  entry.held_something = !entry.file->items.empty() || !entry.file->unreadable.empty();
  return Outcome::kChanged;
}

Folder::Outcome Folder::set_unreadable(Entry& entry, const std::string& path, std::string cause) {
  if (entry.file && entry.file->items.empty() && entry.file->unreadable.size() == 1 &&
      entry.file->unreadable.front().cause == cause) {
    return Outcome::kUnchanged;
  }
  File file{.path = path, .items = {}, .unreadable = {}};
  file.unreadable.push_back({path, std::move(cause)});
  entry.file = std::make_shared<const File>(std::move(file));
  return Outcome::kChanged;
}

bool Folder::lose(const std::string& cause) {
  const bool news = !contents_.lost || contents_.lost->cause != cause;
  contents_.lost = Unreadable{path_.string(), cause};
  return news;
}

void Folder::forget_stamps() {
  for (auto& [name, entry] : entries_) entry.stamp.reset();
}

bool Folder::waits_for_writer() const {
  for (const auto& [name, entry] : entries_) {
    if (entry.being_written) return true;
  }
  return false;
}

}  // namespace underpass::k8s
