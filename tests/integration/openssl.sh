# Cryptography picks its code by what the CPU offers: same bytes out, there and back.
set -eu
seq 1 100000 > plain
for digest in sha1 sha256 sha512 sha3-256 md5 blake2b512; do openssl dgst -$digest plain | cut -c1-60; done
for cipher in aes-256-cbc aes-128-ctr chacha20 camellia-128-cbc; do
    openssl enc -$cipher -K 000102030405060708090a0b0c0d0e0f -iv 101112131415161718191a1b1c1d1e1f -in plain -out sealed 2> /dev/null
    md5sum < sealed
    openssl enc -d -$cipher -K 000102030405060708090a0b0c0d0e0f -iv 101112131415161718191a1b1c1d1e1f -in sealed 2> /dev/null | cmp - plain && echo "$cipher is right"
done
openssl genrsa 2048 2> /dev/null > key && openssl pkeyutl -sign -inkey key -in <(head -c 32 plain) > signature && openssl pkeyutl -verify -inkey key -in <(head -c 32 plain) -sigfile signature
openssl base64 -in <(head -c 100 plain); openssl rand 16 | wc -c; openssl prime 1000003; rm key signature
