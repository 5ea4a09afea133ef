// SPDX-License-Identifier: Apache-2.0
#include "gapless/gapless.h"

#define GAPLESS_TEXT(x) #x
#define GAPLESS_DOTTED(a, b, c) GAPLESS_TEXT(a) "." GAPLESS_TEXT(b) "." GAPLESS_TEXT(c)

extern "C" {

GAPLESS_EXPORT const char* gapless_version(void) {
  return GAPLESS_DOTTED(GAPLESS_VERSION_MAJOR, GAPLESS_VERSION_MINOR, GAPLESS_VERSION_PATCH);
}

GAPLESS_EXPORT uint32_t gapless_abi_version(void) {
  return GAPLESS_ABI_VERSION;
}

}  // extern "C"
