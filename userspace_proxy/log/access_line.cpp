// SPDX-License-Identifier: Apache-2.0
// Written by hand, not through a JSON value: it runs once for every connection.
#include "userspace_proxy/log/access_line.h"

#include "userspace_proxy/log/ends.h"
#include "userspace_proxy/log/text.h"

namespace underpass::log {

void append_access_line(std::string& out, const session::Record& record, const Ended& ended) {
  out += R"({"start":")";
  append_time(out, record.start);
  out += R"(","durationMs":)";
  append_number(out, static_cast<std::uint64_t>(ended.duration.count()));
  append_way(out, record);
  out += R"(,"protocol":"tcp","flags":)";
  append_string(out, session::name_of(ended.flag));
  append_name(out, R"(,"details":)", ended.details);
  out += R"(,"bytesSent":)";
  append_number(out, ended.sent);
  out += R"(,"bytesReceived":)";
  append_number(out, ended.received);
  out += "}\n";
}

}  // namespace underpass::log
