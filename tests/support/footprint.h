/* SPDX-License-Identifier: MIT */
#ifndef SUPPORT_FOOTPRINT_H
#define SUPPORT_FOOTPRINT_H

/* What the process has now, by /proc/self. What is compared before and after is for the test to say. */

long footprint_mapped_bytes(void); /* its address space */
long footprint_resident_bytes(void);
unsigned footprint_mappings(void);
unsigned footprint_descriptors(void);
unsigned footprint_threads(void);

#endif /* SUPPORT_FOOTPRINT_H */
