/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "trusted_file.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

int gapless_is_privileged(void) {
  return getauxval(AT_SECURE) != 0;
}

/* Whoever owns this library is trusted already: its code is running. */
static int owner_of_this_library(uid_t* owner) {
  Dl_info self;
  struct stat status;
  if (dladdr((void*)(uintptr_t)&gapless_is_trusted, &self) == 0 || self.dli_fname == NULL) return 0;
  if (stat(self.dli_fname, &status) != 0) return 0;
  *owner = status.st_uid;
  return 1;
}

static int is_trusted_owner(uid_t owner) {
  uid_t ours = 0;
  if (owner == 0 || owner == geteuid()) return 1;
  return owner_of_this_library(&ours) && owner == ours;
}

static int refuse(char* why, size_t capacity, const char* reason) {
  snprintf(why, capacity, "%s", reason);
  return 0;
}

int gapless_is_trusted(const char* path, char* why, size_t capacity) {
  struct stat status;
  if (stat(path, &status) != 0) return refuse(why, capacity, strerror(errno));
  if (!S_ISREG(status.st_mode)) return refuse(why, capacity, "not a file");
  if (!is_trusted_owner(status.st_uid)) return refuse(why, capacity, "it belongs to another user");
  if (status.st_mode & S_IWOTH) return refuse(why, capacity, "it is writable by others");

  char folder[4096];
  const char* slash = strrchr(path, '/');
  size_t length = slash == NULL || slash == path ? 1 : (size_t)(slash - path);
  if (length >= sizeof folder) return refuse(why, capacity, "its path is too long");
  memcpy(folder, slash == NULL ? "." : path, length);
  folder[length] = '\0';
  if (stat(folder, &status) != 0) return refuse(why, capacity, strerror(errno));
  if (!is_trusted_owner(status.st_uid)) return refuse(why, capacity, "its folder belongs to another user");
  /* In a sticky folder (/tmp) others can add files, not replace this one. */
  if ((status.st_mode & S_IWOTH) && !(status.st_mode & S_ISVTX)) {
    return refuse(why, capacity, "its folder is writable by others");
  }
  return 1;
}
