// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/http/upgrade.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "userspace_proxy/http/chars.h"

namespace underpass::http {

bool may_be_tunnel(std::string_view protocol) {
  std::string name(protocol.substr(0, protocol.find('/')));
  make_lower(name);
  if (name.starts_with("h2") || name == "http" || name == "tls") return false;
  return is_token(name) && std::ranges::all_of(protocol, [](char c) { return c == '/' || is_of(c, chars::kToken); });
}

bool is_websocket_key(std::string_view key) {
  constexpr std::string_view kPadding = "==";
  if (key.size() != 24 || !key.ends_with(kPadding)) return false;
  return std::ranges::all_of(key.substr(0, key.size() - kPadding.size()), [](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' || c == '/';
  });
}

std::string websocket_accept(std::string_view key) {
  const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr) != 1)
    throw std::runtime_error("SHA-1");
  std::array<unsigned char, 2 * EVP_MAX_MD_SIZE> base64;
  const int length = EVP_EncodeBlock(base64.data(), digest.data(), static_cast<int>(size));
  return {reinterpret_cast<const char*>(base64.data()), static_cast<std::size_t>(length)};
}

}  // namespace underpass::http
