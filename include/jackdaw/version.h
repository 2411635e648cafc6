/* SPDX-License-Identifier: MIT */
#ifndef JD_VERSION_H
#define JD_VERSION_H

#include <jackdaw/export.h>

JD_BEGIN_DECLS

/**
 * @file
 * The version of these headers, and of the library that was loaded. The one source of the version:
 * the build reads it from here. Before 1.0 each minor version may change the ABI.
 */
#define JD_VERSION_MAJOR 0
#define JD_VERSION_MINOR 1
#define JD_VERSION_PATCH 0
#define JD_VERSION "0.1.0"

/**
 * The version of the loaded library, which may be newer than the headers' JD_VERSION.
 *
 * @return  "major.minor.patch", a static string.
 *
 * @suspends No.  @threads Any.  @cancel No.
 * @memory   None.  @cost Constant.  @since 0.1
 */
JD_API const char *jd_version(void);

JD_END_DECLS
#endif /* JD_VERSION_H */
