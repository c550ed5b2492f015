// SPDX-License-Identifier: Apache-2.0
// When to look: at once after a change of the two folders, and from time to time where inotify cannot tell. Where
// another program undoes what we did, each round waits longer than the one before.
#include "agent/cni/installer.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstring>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "agent/cni/install_steps.h"
#include "agent/cni/list_folder.h"
#include "agent/cni/node_folder.h"
#include "agent/cni/protocol.h"
#include "underpass/unique_fd.h"

namespace underpass::cni {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kSettle{50};      // a writer that is quick is done by then
constexpr milliseconds kLookAgain{200};  // ... and one that is not
constexpr unsigned kPatientLooks = 25;   // at one who does not finish, before it is a problem
constexpr seconds kCheckProblem{1};      // a folder that is not there yet
constexpr seconds kCheck{30};
constexpr unsigned kPatientRounds = 4;  // that often it is put right at once
constexpr seconds kStands{30};          // after so long the other program has given in
constexpr seconds kLongestPause{300};

constexpr std::uint32_t kEvents = IN_CREATE | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE |
                                  IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

// How often in a row what we did was undone, and when we may do it again.
class Patience {
 public:
  void note_change(Clock::time_point now) {
    rounds_ = changed_ && now - *changed_ < std::max<Clock::duration>(kStands, 2 * pause()) ? rounds_ + 1 : 0;
    changed_ = now;
  }
  [[nodiscard]] bool in_a_fight(Clock::time_point now) const {
    return rounds_ > kPatientRounds && changed_ && now - *changed_ < std::max<Clock::duration>(kStands, 2 * pause());
  }
  [[nodiscard]] Clock::time_point may_write_from() const {
    return changed_ ? *changed_ + pause() : Clock::time_point();
  }
  [[nodiscard]] unsigned rounds() const { return rounds_; }

 private:
  [[nodiscard]] seconds pause() const {
    if (rounds_ <= kPatientRounds) return seconds(0);
    return std::min(kLongestPause, seconds(1LL << std::min(rounds_ - kPatientRounds, 20U)));
  }

  unsigned rounds_ = 0;
  std::optional<Clock::time_point> changed_;
};

class Watching : public Installer {
 public:
  Watching(asio::io_context& io, InstallOptions options, std::function<void()> changed)
      : options_(std::move(options)), changed_(std::move(changed)), inotify_(io), timer_(io) {
    UniqueFd fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    error_code failed;
    if (fd) inotify_.assign(fd.get(), failed);
    if (fd && !failed) {
      static_cast<void>(fd.release());
      wait_for_events();
    }
    look();
  }
  Watching(const Watching&) = delete;
  Watching& operator=(const Watching&) = delete;
  ~Watching() override { *alive_ = false; }

  [[nodiscard]] bool installed() const override { return state_.in_place; }
  [[nodiscard]] std::string configuration() const override { return state_.configuration; }
  [[nodiscard]] std::string problem() const override { return state_.problem; }

 private:
  void look() {
    watch();
    const auto now = Clock::now();
    auto next = install_now(options_, now >= patience_.may_write_from());
    if (next.changed) patience_.note_change(now);
    const bool writing = next.look_again && state_.in_place && ++waited_for_writer_ < kPatientLooks;
    if (!next.look_again) waited_for_writer_ = 0;
    if (patience_.in_a_fight(now))
      next.problem = options_.conf_dir + ": another program undoes what the agent installs there, " +
                     std::to_string(patience_.rounds()) + " times in a row (see docs/cni.md)" +
                     (next.problem.empty() ? "" : ": " + next.problem);
    if (!writing) state_ = next;  // what is being written will be right or wrong in a moment
    plan(next, now);
  }

  void look_and_tell() {
    const auto told = [this] { return std::tuple(state_.in_place, state_.configuration, state_.problem); };
    const auto before = told();
    look();
    if (told() != before && changed_) changed_();
  }

  void plan(const InstallState& state, Clock::time_point now) {
    auto at = now + (state.problem.empty() ? kCheck : kCheckProblem);
    if (state.look_again) at = now + kLookAgain;
    if (!state.in_place && patience_.may_write_from() > now) at = patience_.may_write_from();
    arm(at);
  }

  void arm(Clock::time_point at) {
    timer_.expires_at(at);
    timer_.async_wait([this, alive = alive_](error_code error) {
      if (!error && *alive) look_and_tell();
    });
  }

  // The folders as they are now: each look sees to it, so that one that was made anew is watched within a second.
  void watch() {
    if (!inotify_.is_open()) return;
    const auto add = [this](const std::string& path, int& watched) {
      const int id = ::inotify_add_watch(inotify_.native_handle(), path.c_str(), kEvents);
      if (watched >= 0 && id != watched) ::inotify_rm_watch(inotify_.native_handle(), watched);
      watched = id;
    };
    add(options_.conf_dir, conf_watch_);
    add(options_.bin_dir, bin_watch_);
  }

  void wait_for_events() {
    inotify_.async_wait(asio::posix::stream_descriptor::wait_read, [this, alive = alive_](error_code error) {
      if (error || !*alive) return;
      const auto soon = Clock::now() + kSettle;
      // Not while a pause lasts, and not put off by each event again.
      if (read_events() && timer_.expiry() > soon) arm(std::max(soon, writable_or(soon)));
      wait_for_events();
    });
  }

  // In a fight nothing is gained by looking at each of the other's steps.
  [[nodiscard]] Clock::time_point writable_or(Clock::time_point soon) const {
    return patience_.in_a_fight(Clock::now()) ? std::max(soon, patience_.may_write_from()) : soon;
  }

  // True if one was about us.
  bool read_events() {
    alignas(inotify_event) std::array<char, 16UL * 1024> buffer;
    bool any = false;
    for (;;) {
      const auto length = ::read(inotify_.native_handle(), buffer.data(), buffer.size());
      if (length <= 0) return any;
      for (std::size_t at = 0; at < static_cast<std::size_t>(length);) {
        inotify_event event{};
        std::memcpy(&event, buffer.data() + at, sizeof(event));
        any |= is_about_us(event, event.len == 0 ? "" : buffer.data() + at + sizeof(event));
        at += sizeof(event) + event.len;
      }
    }
  }

  [[nodiscard]] bool is_about_us(const inotify_event& event, std::string_view name) const {
    if (name == kUnfinished || name.ends_with(kPutAway)) return false;
    return event.wd != bin_watch_ || name.empty() || name == kPluginName;
  }

  InstallOptions options_;
  std::function<void()> changed_;
  asio::posix::stream_descriptor inotify_;
  asio::steady_timer timer_;
  int conf_watch_ = -1;
  int bin_watch_ = -1;
  InstallState state_;
  Patience patience_;
  unsigned waited_for_writer_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

std::unique_ptr<Installer> Installer::start(asio::io_context& io, InstallOptions options,
                                            std::function<void()> changed) {
  return std::make_unique<Watching>(io, std::move(options), std::move(changed));
}

}  // namespace underpass::cni
