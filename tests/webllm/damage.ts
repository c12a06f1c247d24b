// Model libraries with other names in them: what a library of another version or without a function looks like.

/** A library in which every occurrence of a text is another of the same length. */
export function withNames(wasm: Uint8Array, names: readonly (readonly [from: string, to: string])[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(wasm);
  for (const [from, to] of names) {
    if (from.length !== to.length) throw new Error(`${from} and ${to} differ in length`);
    const at = places(bytes, from);
    if (at.length === 0) throw new Error(`the library has no ${from}`);
    for (const start of at) bytes.set(new TextEncoder().encode(to), start);
  }
  return bytes;
}

/** A library whose `name` web-llm will not find although it seems to be there: looked up, it is another; a text that speaks of it is stored as TVM stores names. */
export function withoutFunction(wasm: Uint8Array, name: string): Uint8Array<ArrayBuffer> {
  const bytes = withNames(wasm, [[`\0${name}`, `\0${name.slice(0, -1)}0`]]);
  const [speaks] = places(bytes, `=${name},`);
  if (speaks === undefined) throw new Error(`no text speaks of ${name}`);
  bytes.set([name.length, 0, 0, 0, 0, 0, 0, 0], speaks + 1 - 8);
  return bytes;
}

function places(bytes: Uint8Array, text: string): readonly number[] {
  const wanted = new TextEncoder().encode(text);
  const found: number[] = [];
  for (let at = bytes.indexOf(wanted[0]); at >= 0; at = bytes.indexOf(wanted[0], at + 1)) {
    if (wanted.every((byte, i) => bytes[at + i] === byte)) found.push(at);
  }
  return found;
}
