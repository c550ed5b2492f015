// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/api/contents_book.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

namespace underpass::k8s {
namespace {

constexpr std::size_t kInsertedOneByOne = 16;  // more are sorted in

const std::string& path_of(const std::shared_ptr<const File>& file) { return file->path; }

}  // namespace

void ContentsBook::settle() {
  auto& files = contents_.files;
  std::vector<std::shared_ptr<const File>> added;
  std::vector<std::size_t> gone;
  for (auto& [path, file] : std::exchange(changes_, {})) {
    const auto place = std::ranges::lower_bound(files, path, {}, path_of);
    const bool there = place != files.end() && path_of(*place) == path;
    if (there && file) *place = file;
    if (there && !file) gone.push_back(static_cast<std::size_t>(place - files.begin()));
    if (!there && file) added.push_back(file);
  }
  for (const auto position : gone) files[position] = nullptr;
  if (!gone.empty()) std::erase(files, nullptr);
  if (added.size() <= kInsertedOneByOne) {
    for (auto& file : added) {
      const auto place = std::ranges::lower_bound(files, path_of(file), {}, path_of);
      files.insert(place, std::move(file));
    }
    return;
  }
  // They are in the order of the changes, so sorted too.
  std::vector<std::shared_ptr<const File>> all;
  all.reserve(files.size() + added.size());
  const auto by_path = [](const auto& a, const auto& b) { return a->path < b->path; };
  std::merge(std::move_iterator(files.begin()), std::move_iterator(files.end()), std::move_iterator(added.begin()),
             std::move_iterator(added.end()), std::back_inserter(all), by_path);
  files = std::move(all);
}

}  // namespace underpass::k8s
