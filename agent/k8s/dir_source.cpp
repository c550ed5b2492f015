// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/dir_source.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <set>
#include <string>
#include <utility>

#include "agent/k8s/folder.h"
#include "underpass/unique_fd.h"

namespace underpass::k8s {
namespace asio = boost::asio;

namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kSettle{50};      // a burst of changes is over when nothing happened for so long
constexpr milliseconds kSettleMax{500};  // ... and is acted upon after so long in any case
constexpr milliseconds kCheck{500};      // how often is asked what inotify does not tell

constexpr std::uint32_t kEvents = IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO |
                                  IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

UniqueFd open_folder(const std::filesystem::path& path) {
  return UniqueFd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

}  // namespace

// Handlers hold the watch alive; stop() makes them end.
class DirSource::Watch : public std::enable_shared_from_this<Watch> {
 public:
  Watch(asio::io_context& io, std::filesystem::path path, Listener listener)
      : path_(std::move(path)),
        listener_(std::move(listener)),
        folder_(path_, {.netns_annotation = true, .tunnels_by_label = true}),
        inotify_(io),
        settle_timer_(io),
        check_timer_(io) {}

  Result<void> open() {
    const auto what = "source dir:" + path_.string();
    const auto folder = open_folder(path_);
    if (!folder) return fail_errno(what);
    UniqueFd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!inotify) return fail_errno(what + ": inotify_init1 (see fs.inotify.max_user_instances)");
    boost::system::error_code error;
    inotify_.assign(inotify.get(), error);
    if (error) return fail(what + ": " + error.message());
    static_cast<void>(inotify.release());
    if (!watch(folder.get())) return fail_errno(what + ": inotify_add_watch (see fs.inotify.max_user_watches)");
    return {};
  }

  void start() {
    rescan();
    listener_(folder_.contents());
    wait_for_events();
    wait_for_check();
  }

  void stop() {
    stopped_ = true;
    inotify_.close();
    settle_timer_.cancel();
    check_timer_.cancel();
  }

 private:
  // Watches the folder that `dir_fd` is, whatever its path has become meanwhile, instead of the one before.
  bool watch(int dir_fd) {
    struct stat status{};
    if (::fstat(dir_fd, &status) < 0) return false;
    const auto self = "/proc/self/fd/" + std::to_string(dir_fd);
    const int added =
        ::inotify_add_watch(inotify_.native_handle(), self.c_str(), kEvents);  // the same id if it is there
    if (added != watched_) {
      if (watched_ >= 0) ::inotify_rm_watch(inotify_.native_handle(), watched_);
      may_have_missed_ = true;
    }
    watched_ = added;
    device_ = status.st_dev;
    inode_ = status.st_ino;
    return added >= 0;
  }

  bool rescan() {
    const auto dir = open_folder(path_);
    if (!dir) return folder_.lose(std::strerror(errno));
    // First, so that no change falls between; where it fails, check() looks at the folder instead.
    const bool watched = watch(dir.get());
    const auto touched = std::exchange(touched_, {});
    const bool told_all = !std::exchange(may_have_missed_, false) && watched && !touched.empty();
    return told_all && !folder_.lost() ? folder_.refresh(dir.get(), touched) : folder_.rescan(dir.get(), touched);
  }

  void tell() {
    if (rescan()) listener_(folder_.contents());
  }

  void wait_for_events() {
    inotify_.async_wait(asio::posix::stream_descriptor::wait_read,
                        [self = shared_from_this()](const boost::system::error_code& error) {
                          if (error || self->stopped_) return;
                          if (self->read_events()) self->settle();
                          self->wait_for_events();
                        });
  }

  // True if there were any.
  bool read_events() {
    alignas(inotify_event) std::array<char, 16 * 1024> buffer;
    bool any = false;
    for (;;) {
      const auto length = ::read(inotify_.native_handle(), buffer.data(), buffer.size());
      if (length <= 0) return any;
      any = true;
      for (std::size_t at = 0; at < static_cast<std::size_t>(length);) {
        inotify_event event{};
        std::memcpy(&event, buffer.data() + at, sizeof(event));
        take(event, event.len == 0 ? "" : buffer.data() + at + sizeof(event));
        at += sizeof(event) + event.len;
      }
    }
  }

  void take(const inotify_event& event, const char* name) {
    if ((event.mask & IN_Q_OVERFLOW) != 0) {
      folder_.forget_stamps();
      may_have_missed_ = true;
    }
    if (event.wd != watched_) return;  // of a folder watched before
    if ((event.mask & IN_IGNORED) != 0) watched_ = -1;
    if (*name != '\0') touched_.insert(name);
  }

  void settle() {
    const auto now = Clock::now();
    if (!settling_) burst_started_ = now;
    settling_ = true;
    settle_timer_.expires_at(std::min(now + kSettle, burst_started_ + kSettleMax));
    settle_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (error || self->stopped_) return;
      self->settling_ = false;
      self->tell();
    });
  }

  void wait_for_check() {
    check_timer_.expires_after(kCheck);
    check_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (error || self->stopped_) return;
      if (!self->settling_ && self->needs_look()) self->tell();
      if (!self->stopped_) self->wait_for_check();
    });
  }

  // What no event announces: the folder came back, its path means another folder now, a writer is done.
  bool needs_look() {
    if (folder_.lost() || watched_ < 0 || folder_.waits_for_writer()) return true;
    struct stat status{};
    return ::stat(path_.c_str(), &status) < 0 || status.st_dev != device_ || status.st_ino != inode_;
  }

  std::filesystem::path path_;
  Listener listener_;
  Folder folder_;
  asio::posix::stream_descriptor inotify_;
  asio::steady_timer settle_timer_;
  asio::steady_timer check_timer_;
  bool stopped_ = false;

  int watched_ = -1;  // inotify's id of the folder; -1: not watched
  dev_t device_ = 0;
  ino_t inode_ = 0;
  bool may_have_missed_ = true;  // not every change since the last rescan is in touched_

  bool settling_ = false;
  Clock::time_point burst_started_;
  std::set<std::string> touched_;  // since the last rescan
};

Result<std::unique_ptr<DirSource>> DirSource::open(asio::io_context& io, std::filesystem::path path,
                                                   Listener listener) {
  auto watch = std::make_shared<Watch>(io, std::move(path), std::move(listener));
  if (auto opened = watch->open(); !opened) return std::unexpected(std::move(opened.error()));
  return std::unique_ptr<DirSource>(new DirSource(std::move(watch)));
}

DirSource::DirSource(std::shared_ptr<Watch> watch) : watch_(std::move(watch)) {}
DirSource::~DirSource() { watch_->stop(); }

void DirSource::start() { watch_->start(); }

}  // namespace underpass::k8s
