/* SPDX-License-Identifier: Apache-2.0 */
/* musl_lookup NAME: resolves NAME by musl, whose resolver asks by sendto() and drops answers that do not come from
 * where it asked; prints the address. Linked with musl, statically. */
#include <netdb.h>
#include <stdio.h>

int main(int argc, char** argv) {
  struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
  struct addrinfo* result;
  char text[64];
  int error;

  if (argc != 2) {
    fprintf(stderr, "usage: musl_lookup NAME\n");
    return 2;
  }
  error = getaddrinfo(argv[1], NULL, &hints, &result);
  if (error != 0) {
    fprintf(stderr, "musl_lookup: %s\n", gai_strerror(error));
    return 1;
  }
  if (getnameinfo(result->ai_addr, result->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) != 0) return 1;
  printf("%s\n", text);
  freeaddrinfo(result);
  return 0;
}
