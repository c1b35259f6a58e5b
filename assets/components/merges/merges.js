/* The tokens of a text after the first merges of a byte-pair encoding, computed from its tokens after all merges. pairs: the ids
   of left and right of each merge, one after another; merge k makes token 256 + k. */
const BYTES = 256;

/* The tokens of the text after the first `merges`: those made later are split. */
export function tokensAfter(ids, pairs, merges) {
  const tokens = [];
  const left = Array.from(ids).reverse();
  while (left.length) {
    const id = left.pop();
    if (id < BYTES + merges) tokens.push(id);
    else left.push(pairs[2 * (id - BYTES) + 1], pairs[2 * (id - BYTES)]);
  }
  return tokens;
}

/* The text that each token completes; as `token_texts` in core/text/tokenizers.py. bytes: of the first 256 tokens. */
export function textsOf(ids, pairs, bytes) {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const texts = ids.map((id) => decoder.decode(Uint8Array.from(tokensAfter([id], pairs, 0), (byte) => bytes[byte]), { stream: true }));
  if (texts.length) texts[texts.length - 1] += decoder.decode();
  return texts;
}

/* The merges at a place of the slider from 0 to 1, whose scale is logarithmic: the first merges change most. */
export function mergesAt(place, total) {
  return Math.round((total + 1) ** place) - 1;
}

export function placeOf(merges, total) {
  return total ? Math.log(merges + 1) / Math.log(total + 1) : 0;
}

/* A model's parameters by vocabulary size: with one token, what the second token adds, and how much more the third adds. */
export function parametersAt([one, second, more], size) {
  return one + (size - 1) * second + ((size - 1) * (size - 2) * more) / 2;
}
