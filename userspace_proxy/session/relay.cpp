// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/session/relay.h"

#include <cerrno>
#include <utility>

#include "userspace_proxy/net/non_blocking.h"

namespace underpass::session {
namespace {

// Blocks of one direction before others have their turn.
constexpr int kTurn = 16;

}  // namespace

// Writes what the block holds, as far as it goes. False: the socket failed.
bool Relay::flush(Direction& direction, Side& to, Step& step) {
  while (direction.begin < direction.end && to.writable) {
    const ssize_t sent = to.transport->send(direction.block.get() + direction.begin, direction.end - direction.begin);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && !net::would_block(errno)) {
      step.error = errno;
      return false;
    }
    if (sent < 0) {
      to.writable = false;
      to.waits_out = true;
      break;
    }
    direction.begin += static_cast<std::uint32_t>(sent);
    direction.bytes += static_cast<std::uint64_t>(sent);
    step.moved = true;
  }
  return true;
}

Relay::Way Relay::pump(Direction& direction, Side& from, Side& to, BufferPool& buffers, Step& step) {
  for (int turn = 0; turn < kTurn; ++turn) {
    if (direction.begin < direction.end) {
      if (!flush(direction, to, step)) return Way::kWriteFailed;
      if (direction.begin < direction.end) return Way::kWaits;
      direction.begin = direction.end = 0;
    }
    if (direction.ended && !direction.shut) {
      direction.shut = step.moved = true;
      // ENOTCONN: reset meanwhile, which reading tells.
      if (to.transport->shut_write() != 0 && errno != ENOTCONN) {
        step.error = errno;
        return Way::kWriteFailed;
      }
    }
    if (direction.ended || !from.readable || !to.writable) break;

    if (!direction.block) direction.block = buffers.take();
    const ssize_t got = from.transport->receive(direction.block.get(), BufferPool::kBlock);
    if (got > 0) {
      direction.end = static_cast<std::uint32_t>(got);
      if (turn + 1 == kTurn) {  // what was read is not left lying
        if (!flush(direction, to, step)) return Way::kWriteFailed;
        if (direction.begin < direction.end) return Way::kWaits;
        direction.begin = direction.end = 0;
      }
    } else if (got == 0) {
      direction.ended = true;
      --turn;  // the end is handed on in any case
    } else if (net::would_block(errno)) {
      from.readable = false;
    } else if (errno != EINTR) {
      step.error = errno;
      return Way::kReadFailed;
    }
  }
  if (direction.begin == direction.end) buffers.give_back(std::move(direction.block));
  return from.readable && to.writable && !direction.ended ? Way::kMore : Way::kWaits;
}

Relay::Step Relay::pump(BufferPool& buffers) {
  Step step;
  const Way up = pump(up_, client, server, buffers, step);
  if (up == Way::kReadFailed || up == Way::kWriteFailed) {
    step.outcome = up == Way::kReadFailed ? Outcome::kClientFailed : Outcome::kServerFailed;
    return step;
  }
  const Way down = pump(down_, server, client, buffers, step);
  if (down == Way::kReadFailed || down == Way::kWriteFailed) {
    step.outcome = down == Way::kReadFailed ? Outcome::kServerFailed : Outcome::kClientFailed;
    return step;
  }
  if (up_.shut && down_.shut)
    step.outcome = Outcome::kEnded;
  else if (up == Way::kMore || down == Way::kMore)
    step.outcome = Outcome::kMore;
  return step;
}

void Relay::release(BufferPool& buffers) {
  buffers.give_back(std::move(up_.block));
  buffers.give_back(std::move(down_.block));
}

}  // namespace underpass::session
