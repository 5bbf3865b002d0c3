"""Products of one party's private numbers with the other's, by ring learning with errors (RLWE).

Shares modulo 2^k, of products of matrices, k up to 64, and of vectors, k up to 48, for correlations that no
dealer makes.
Either party may be the holder, who encrypts, and the other the evaluator, who multiplies:

    p = matrix_parameters(ring_bits, weight_norm)            both, the same
    key = send_keys(link, p, stream)                         holder, once a session
    keys = receive_keys(link, p)                             evaluator
    c = holder_product(link, key, left, columns, stream)     [batch, rows, inner] -> [batch, rows, columns]
    s = evaluator_product(link, keys, right, rows, stream)   c + s = left right modulo 2^k

A weight is a right factor with a public bound on its columns' norm. A private right factor, an array of words
modulo 2^k, is passed through `encoding.signed`, under `matrix_parameters(k, private_norm(k, inner))`; as
(X Y)^T = Y^T X^T, the smaller factor should be the left one. Vectors are multiplied number by number by
`elementwise.holder_products` and `evaluator_products`, under `slot_parameters`. Few rows cost as much as
`parameters.LEAST_ROWS`, and 128 rows fill ciphertexts best: masks of single tokens are multiplied together.

`costs` has the bytes of each, `parameters` what is assumed and what is revealed. All is of the offline phase.
A holder whose answer does not decrypt right cannot know it, and says nothing.
"""
