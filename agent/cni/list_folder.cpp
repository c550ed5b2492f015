// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/list_folder.h"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace underpass::cni {
namespace {

// As libcni's ConfFiles(): hidden ones too.
bool is_loaded(const std::string& name) {
  return name.ends_with(".conflist") || name.ends_with(".conf") || name.ends_with(".json");
}

std::string put_away_name(const std::string& name) { return name + std::string(kPutAway); }

ListEntry made_from(ListEntry entry, const std::string& name) {
  entry.made_from = name;
  return entry;
}

}  // namespace

Result<ListFolder> ListFolder::open(const std::string& path) {
  auto folder = NodeFolder::open(path);
  if (!folder) return std::unexpected(folder.error());
  ListFolder out(std::move(*folder));
  if (auto read = out.read_all(); !read) return std::unexpected(read.error());
  return out;
}

Result<void> ListFolder::read_all() {
  // What a process of ours left that was killed.
  if (auto removed = folder_.remove(std::string(kUnfinished)); !removed) return removed;
  const auto names = folder_.names();
  if (!names) return std::unexpected(names.error());
  for (const auto& name : *names) {
    if (!is_loaded(name)) continue;
    auto read = folder_.read(name);
    if (!read) {
      files_.push_back({.name = name, .text = {}, .list = std::unexpected(read.error())});
    } else if (*read) {
      being_written_ |= (*read)->being_written;
      auto& text = (*read)->text;
      auto list = name.ends_with(".conflist") ? PluginList::parse(text) : PluginList::of_single(text);
      if (!list) list = fail_in(path_of(name), list.error());
      files_.push_back({.name = name, .text = std::move(text), .list = std::move(list)});
    }
  }
  return {};
}

const ListFolder::File* ListFolder::find(const std::string& name) const {
  const auto found = std::ranges::find(files_, name, &File::name);
  return found == files_.end() ? nullptr : &*found;
}

const ListFolder::File* ListFolder::in_use() const {
  const auto first = std::ranges::find_if(files_, [](const File& file) { return file.list.has_value(); });
  if (first == files_.end()) return nullptr;
  const auto* original = first->made_from().empty() ? nullptr : find(first->made_from());
  return original != nullptr && original->list ? original : &*first;
}

std::string ListFolder::list_name(const File& file) {
  return file.is_list() ? file.name : std::filesystem::path(file.name).stem().string() + ".conflist";
}

bool ListFolder::has_entry(const File& file, const ListEntry& entry) const {
  return file.is_list() && file.list && file.list->with(made_from(entry, file.made_from())) == file.text;
}

Result<bool> ListFolder::add_entry(const File& file, const ListEntry& entry) const {
  if (!file.list) return std::unexpected(file.list.error());
  if (!file.is_list()) return put_away(file, entry);
  return folder_.replace(file.name, file.text, file.list->with(made_from(entry, file.made_from())));
}

// The list first: it stands behind a *.conf of its name, and before a *.json, and says the same.
Result<bool> ListFolder::put_away(const File& file, const ListEntry& entry) const {
  const auto name = list_name(file);
  const auto* there = find(name);
  if (there != nullptr && there->made_from() != file.name)
    return fail(path_of(name) + ": stands where the list made of " + file.name + " would be: remove one of the two");
  const auto text = file.list->with(made_from(entry, file.name));
  if (auto put = folder_.put(name, text, file.name); !put) return std::unexpected(put.error());
  if (auto away = folder_.rename(file.name, put_away_name(file.name)); !away) return std::unexpected(away.error());
  return true;
}

Result<bool> ListFolder::remove_entry(const File& file) const {
  if (!file.list) return std::unexpected(file.list.error());
  const auto original = file.made_from();
  if (!original.empty() && (folder_.has(original) || folder_.has(put_away_name(original)))) return put_back(file);
  const auto text = file.list->without();
  if (!text.empty()) return folder_.replace(file.name, file.text, text);
  if (auto removed = folder_.remove(file.name); !removed) return std::unexpected(removed.error());
  return true;
}

Result<bool> ListFolder::put_back(const File& file) const {
  const auto original = file.made_from();
  const auto away = put_away_name(original);
  // Its owner has written it again: that is newer.
  auto done = folder_.has(original) ? folder_.remove(away) : folder_.rename(away, original);
  if (done) done = folder_.remove(file.name);
  if (!done) return std::unexpected(done.error());
  return true;
}

}  // namespace underpass::cni
