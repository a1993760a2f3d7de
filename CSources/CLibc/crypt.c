#include <crypt.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "CLibc.h"

// In a time that depends on the lengths alone, which are no secret.
static bool is_equal(const char *first, const char *second) {
  size_t length = strlen(first);
  if (strlen(second) != length) return false;
  unsigned char difference = 0;
  for (size_t i = 0; i < length; i++) {
    difference |= (unsigned char)first[i] ^ (unsigned char)second[i];
  }
  return difference == 0;
}

int system_password_matches(const char *password, const char *hash) {
  // 32 KiB: too much for the stack of a thread that somebody else may have made.
  struct crypt_data *data = calloc(1, sizeof *data);
  if (data == NULL) return -ENOMEM;
  const char *made = crypt_r(password, hash, data);
  // What cannot be computed is nil, or begins with a star, as no hash does. crypt(3)
  int result = made == NULL || made[0] == '*' ? -EINVAL : is_equal(made, hash);
  explicit_bzero(data, sizeof *data);
  free(data);
  return result;
}
