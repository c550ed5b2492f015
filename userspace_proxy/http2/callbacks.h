// SPDX-License-Identifier: Apache-2.0
// How nghttp2, which is C, calls a Connection, and the options that its session is made with.
#pragma once

#include <nghttp2/nghttp2.h>

#include "userspace_proxy/http2/connection.h"

namespace underpass::http2 {

struct Connection::Callbacks {
  static std::unique_ptr<nghttp2_session, SessionDeleter> make_session(Connection& owner, Side side);
  static nghttp2_data_provider body_of(Stream& stream);

 private:
  static void set(nghttp2_session_callbacks* callbacks);
};

}  // namespace underpass::http2
