/* SPDX-License-Identifier: Apache-2.0 */
/* Types with everything that BTF knows and abi.h does not use, for BPF C and for the test that fills them in C++. */
#ifndef UNDERPASS_TEST_CLI_BTF_TYPES_H
#define UNDERPASS_TEST_CLI_BTF_TYPES_H

#include <linux/types.h>

#include "underpass/abi.h"

#ifdef __cplusplus
typedef bool odd_bool;
#else
typedef _Bool odd_bool;
#endif

enum odd_colour { ODD_COLOUR_DARK_RED = 1, ODD_COLOUR_DARK_BLUE = 2, ODD_COLOUR_WHITE = 7 };
enum odd_signed { ODD_SIGNED_MINUS = -3, ODD_SIGNED_PLUS = 3 };
enum odd_large { ODD_LARGE_ONE = 1, ODD_LARGE_HUGE = 0x123456789abcdef0ull };
enum odd_single { ODD_SINGLE = 5 };

struct odd_inner {
  __s32 number;
  odd_bool yes;
  __u8 mac[6];
};

struct odd_tiny {
  __s8 tiny;
};

typedef struct odd_inner odd_inner_t;

struct odd {
  __u64 id;
  __u64 peer_netns;
  __u64 plain;
  __u32 conn; /* narrow: stays a number */
  __be16 port;
  __be32 net;
  __be64 wide;
  __u32 low : 3;
  __u32 high : 29;
  __s32 negative : 5;
  enum odd_colour colour;
  enum odd_colour unknown;
  enum odd_signed sign;
  enum odd_large large;
  enum odd_single single;
  enum up_tcp_state states[2];
  union {
    __u32 as_number;
    __u8 as_bytes[4];
  };
  struct odd_tiny named;
  odd_inner_t inner[2];
  char text[8];
  unsigned char raw[3];
  double ratio;
  void* pointer;
  __extension__ unsigned __int128 very_large;
  __u8 pad1[3];
  __u32 padding;
  struct up_addr addr;
  enum up_direction direction;
};

struct counters {
  __u64 total;
  __u64 parts[3];
};

#endif /* UNDERPASS_TEST_CLI_BTF_TYPES_H */
