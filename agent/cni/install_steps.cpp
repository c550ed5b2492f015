// SPDX-License-Identifier: Apache-2.0
#include "agent/cni/install_steps.h"

#include <sys/stat.h>

#include <filesystem>
#include <optional>
#include <utility>

#include "agent/cni/list_folder.h"
#include "agent/cni/node_folder.h"
#include "agent/cni/protocol.h"
#include "agent/state/state_file.h"

namespace underpass::cni {
namespace {

constexpr unsigned kProgramMode = 0755;
constexpr std::size_t kLongestProgram = std::size_t{64} << 20;
const std::string kProgram{kPluginName};
const std::string kMissing = "the plugin's entry is missing";

bool is_executable(const std::string& path) {
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
         (status.st_mode & kProgramMode) == kProgramMode;
}

Result<std::string> read_program(const std::string& path) {
  auto text = state::read_state_file(path, kLongestProgram);
  if (!text) return std::unexpected(text.error());
  if (!*text || (*text)->empty()) return fail(path + ": the plugin is not there");
  return std::move(**text);
}

// True where it was put there.
Result<bool> ensure_program(const InstallOptions& options, bool may_write) {
  const auto program = read_program(options.plugin);
  if (!program) return std::unexpected(program.error());
  const auto folder = NodeFolder::open(options.bin_dir);
  if (!folder) return std::unexpected(folder.error());
  const auto there = state::read_state_file(folder->path_of(kProgram), kLongestProgram);
  if (there && *there && **there == *program && is_executable(folder->path_of(kProgram))) return false;
  if (!may_write) return fail(folder->path_of(kProgram) + ": is missing, or another program");
  if (auto put = folder->put(kProgram, *program, kProgramMode); !put) return std::unexpected(put.error());
  return true;
}

class Installation {
 public:
  Installation(const InstallOptions& options, bool may_write)
      : options_(options),
        entry_{.socket = options.socket, .enrolment = options.enrolment, .made_from = {}},
        may_write_(may_write) {}

  InstallState run() {
    if (auto done = steps(); !done) {
      state_.in_place = false;
      state_.problem = done.error().message;
    }
    return std::move(state_);
  }

 private:
  Result<void> steps() {
    const auto lists = ListFolder::open(options_.conf_dir);
    if (!lists) return std::unexpected(lists.error());
    if (lists->being_written()) {
      state_.look_again = true;
      return fail(options_.conf_dir + ": a plugin list is being written");
    }
    const auto* used = lists->in_use();
    if (used == nullptr) return fail(no_list(*lists));
    if (auto fit = used->list->can_be_chained(); !fit) return fail_in(lists->path_of(used->name), fit.error());
    const auto program = ensure_program(options_, may_write_);
    if (!program) return std::unexpected(program.error());
    state_.changed |= *program;
    if (auto added = add_to(*lists, *used); !added) return added;
    return leave_others(*lists, *used);
  }

  Result<void> add_to(const ListFolder& lists, const ListFolder::File& used) {
    const auto path = lists.path_of(ListFolder::list_name(used));
    if (!lists.has_entry(used, entry_)) {
      if (!may_write_) return fail(path + ": " + kMissing);
      const auto added = lists.add_entry(used, entry_);
      if (!added) return std::unexpected(added.error());
      state_.changed |= *added;
      state_.look_again |= !*added;
      if (!*added) return fail(path + ": its owner is writing it");
    }
    state_.configuration = path;
    state_.in_place = true;
    return {};
  }

  // The entry out of lists that do not count any more.
  Result<void> leave_others(const ListFolder& lists, const ListFolder::File& used) {
    for (const auto& file : lists.files()) {
      if (!may_write_ || !file.names_us() || file.name == ListFolder::list_name(used)) continue;
      const auto removed = lists.remove_entry(file);
      if (!removed) return std::unexpected(removed.error());
      state_.changed |= *removed;
      state_.look_again |= !*removed;
    }
    return {};
  }

  [[nodiscard]] std::string no_list(const ListFolder& lists) const {
    if (lists.files().empty()) return options_.conf_dir + ": no plugin list is there yet";
    return options_.conf_dir + ": no valid plugin list: " + lists.files().front().list.error().message;
  }

  const InstallOptions& options_;
  ListEntry entry_;
  bool may_write_;
  InstallState state_;
};

}  // namespace

InstallState install_now(const InstallOptions& options, bool may_write) {
  return Installation(options, may_write).run();
}

}  // namespace underpass::cni
