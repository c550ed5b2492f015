// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/http/normal_form.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include "userspace_proxy/http/authority.h"
#include "userspace_proxy/http/chars.h"

namespace underpass::http {
namespace {

// Whether the path is its normal form already, as nearly all are. May say no to one that is.
bool is_plain(std::string_view path) {
  char before = 0;
  for (const char c : path) {
    if (c == '%' || c == '\\' || (before == '/' && (c == '/' || c == '.'))) return false;
    before = c;
  }
  return true;
}

// Escapes and backslashes, in place: it never grows. False: a bad escape, or one that nobody may send.
bool resolve_escapes(std::string& path, bool decode_slashes) {
  static constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::size_t to = 0;
  for (std::size_t from = 0; from < path.size(); ++from) {
    const char c = path[from];
    if (c != '%') {
      path[to++] = c == '\\' ? '/' : c;
      continue;
    }
    if (path.size() - from < 3) return false;
    const int high = hex_value(path[from + 1]);
    const int low = hex_value(path[from + 2]);
    if (high < 0 || low < 0 || (high == 0 && low == 0)) return false;
    from += 2;
    const char meant = static_cast<char>(high * 16 + low);
    if (is_of(meant, chars::kUnreserved)) {
      path[to++] = meant;
    } else if (decode_slashes && (meant == '/' || meant == '\\')) {
      path[to++] = '/';
    } else {
      path[to++] = '%';
      path[to++] = kDigits[static_cast<std::size_t>(high)];
      path[to++] = kDigits[static_cast<std::size_t>(low)];
    }
  }
  path.resize(to);
  return true;
}

// RFC 3986 §5.2.4 for a path that begins with "/", in place: segment by segment, each with the "/" before it.
void remove_dot_segments(std::string& path) {
  std::size_t to = 0;
  std::size_t from = 0;
  while (from < path.size()) {
    const std::size_t end = std::min(path.find('/', from + 1), path.size());
    const auto segment = std::string_view(path).substr(from + 1, end - from - 1);
    const bool up = segment == "..";
    if (up || segment == ".") {
      if (up) to = to == 0 ? 0 : path.rfind('/', to - 1);
      if (end == path.size()) path[to++] = '/';  // what ends with a dot segment is a folder
    } else {
      const std::size_t length = end - from;
      std::copy_n(path.begin() + static_cast<std::ptrdiff_t>(from), length,
                  path.begin() + static_cast<std::ptrdiff_t>(to));
      to += length;
    }
    from = end;
  }
  path.resize(to);
}

void merge_slashes(std::string& path) {
  const auto rest = std::ranges::unique(path, [](char a, char b) { return a == '/' && b == '/'; });
  path.erase(rest.begin(), rest.end());
}

bool normalize_path(std::string& target, PathNormalization how) {
  if (!target.starts_with('/') || !all_of(target, chars::kTarget)) return false;
  const std::size_t end = std::min(target.find('?'), target.size());
  const auto path = std::string_view(target).substr(0, end);
  if (how == PathNormalization::kNone) return !path.contains("%00");
  if (is_plain(path)) return true;
  std::string changed(path);
  if (!resolve_escapes(changed, how == PathNormalization::kDecodeAndMergeSlashes)) return false;
  remove_dot_segments(changed);
  if (how >= PathNormalization::kMergeSlashes) merge_slashes(changed);
  target.replace(0, end, changed);
  return true;
}

// The host's length, and its port; the authority is changed.
bool normalize_authority(std::string& authority, NormalForm& form, std::string_view scheme) {
  if (authority.empty()) return true;
  const auto parsed = parse_authority(authority);
  if (!parsed) return false;
  std::size_t host = parsed->host.size();
  form.port = parsed->port;
  make_lower(authority);
  if (authority[host - 1] == '.') authority.erase(--host, 1);
  form.host = std::string_view(authority).substr(0, host);
  if ((scheme == "http" && form.port == 80) || (scheme == "https" && form.port == 443)) form.port.reset();
  return true;
}

}  // namespace

std::optional<NormalForm> normalize(Request& request, PathNormalization how) {
  NormalForm form;
  if (!normalize_authority(request.authority, form, request.scheme)) return std::nullopt;
  const bool pathless = request.is_connect() && request.protocol.empty();
  if (pathless) {
    if (!request.path.empty() || request.authority.empty()) return std::nullopt;
  } else if (request.path != "*" || request.method != "OPTIONS") {
    if (!normalize_path(request.path, how)) return std::nullopt;
  }
  form.path = std::string_view(request.path).substr(0, request.path.find('?'));
  return form;
}

}  // namespace underpass::http
