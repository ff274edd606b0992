/* BLAKE2b without a key, of 16 bytes: RFC 7693. */

#ifndef TALLY_BLAKE2B_H
#define TALLY_BLAKE2B_H

#include <stdint.h>
#include <string.h>

#define BLOCK 128
#define DIGEST 16

static const uint64_t START[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

static const uint8_t ORDER[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static inline uint64_t rotated(uint64_t word, int bits)
{
    return (word >> bits) | (word << (64 - bits));
}

static inline void mix(uint64_t *v, int a, int b, int c, int d, uint64_t x, uint64_t y)
{
    v[a] += v[b] + x;
    v[d] = rotated(v[d] ^ v[a], 32);
    v[c] += v[d];
    v[b] = rotated(v[b] ^ v[c], 24);
    v[a] += v[b] + y;
    v[d] = rotated(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = rotated(v[b] ^ v[c], 63);
}

static inline uint64_t word_at(const unsigned char *bytes)
{
    uint64_t word = 0;
    for (int i = 7; i >= 0; i--)
        word = word << 8 | bytes[i];
    return word;
}

static inline void compress(uint64_t state[8], const unsigned char *block, uint64_t length, int is_last)
{
    uint64_t v[16], words[16];
    for (int i = 0; i < 8; i++) {
        v[i] = state[i];
        v[i + 8] = START[i];
    }
    v[12] ^= length;
    if (is_last)
        v[14] = ~v[14];
    for (int i = 0; i < 16; i++)
        words[i] = word_at(block + 8 * i);
#pragma GCC unroll 12
    for (int round = 0; round < 12; round++) {
        const uint8_t *o = ORDER[round % 10];
        mix(v, 0, 4, 8, 12, words[o[0]], words[o[1]]);
        mix(v, 1, 5, 9, 13, words[o[2]], words[o[3]]);
        mix(v, 2, 6, 10, 14, words[o[4]], words[o[5]]);
        mix(v, 3, 7, 11, 15, words[o[6]], words[o[7]]);
        mix(v, 0, 5, 10, 15, words[o[8]], words[o[9]]);
        mix(v, 1, 6, 11, 12, words[o[10]], words[o[11]]);
        mix(v, 2, 7, 8, 13, words[o[12]], words[o[13]]);
        mix(v, 3, 4, 9, 14, words[o[14]], words[o[15]]);
    }
    for (int i = 0; i < 8; i++)
        state[i] ^= v[i] ^ v[i + 8];
}

static inline void digest(const char *chars, size_t length, unsigned char made[DIGEST])
{
    uint64_t state[8], done = 0;
    unsigned char block[BLOCK] = {0};
    memcpy(state, START, sizeof state);
    state[0] ^= 0x01010000 ^ DIGEST;
    for (; length - done > BLOCK; done += BLOCK)
        compress(state, (const unsigned char *)chars + done, done + BLOCK, 0);
    memcpy(block, chars + done, length - done);
    compress(state, block, length, 1);
    for (int i = 0; i < DIGEST; i++)
        made[i] = (unsigned char)(state[i / 8] >> (8 * (i % 8)));
}

#endif
