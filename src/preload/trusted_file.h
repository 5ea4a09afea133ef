/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GAPLESS_PRELOAD_TRUSTED_FILE_H
#define GAPLESS_PRELOAD_TRUSTED_FILE_H

#include <stddef.h>

/* Non-zero when the process has more rights than its user (setuid, setgid, file capabilities). */
int gapless_is_privileged(void);

/* Non-zero when nobody but this user, root and the owner of this very library could have put other code into the file:
 * a regular file of one of them, writable by no others, in a folder where no others can replace it. Otherwise `why`
 * says what is wrong. Group members count as the owner (many systems give each user a group of their own and make files
 * group-writable); folders above the file's are not looked at. */
int gapless_is_trusted(const char* path, char* why, size_t capacity);

#endif
