/* Keeps compilers from fused multiply-adds, which round differently from the golden vectors, where the build does not set
   -ffp-contract=off, such as in Arduino. Include this file first. With -std=c99, GCC fuses nothing. */
#ifndef GS_NO_FUSED_H
#define GS_NO_FUSED_H
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__) && !defined(__STRICT_ANSI__)
#pragma GCC optimize("-ffp-contract=off")
#endif
#endif
