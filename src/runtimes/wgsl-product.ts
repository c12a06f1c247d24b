// What a kernel that binds a linear's weight multiplies it with, and where the product goes, read in its text: y += B (A x) may be added after the kernel
// only where y holds W x, perhaps with a residual or a bias added, and x is known. Values are followed through variables and workgroup copies, whichever
// element and whichever branch; where two kinds meet in one variable it counts as neither, so the answer is "unknown" sooner than wrong.
import { type Expression, type Kernel, parseKernel } from './wgsl-parse.ts';

export type KernelReading =
  /** Indices of bindings: y is in `output`, x in `input`, both arrays of f32. */
  | { readonly known: true; readonly input: number; readonly output: number }
  /** `why` completes "the kernel is not known: ...". */
  | { readonly known: false; readonly why: string };
/** Reads the function `entry` of a module; `weights` are the bindings that hold the weight: its numbers, or its codes and its scales. */
export type KernelReader = (code: string, entry: string, weights: readonly number[]) => KernelReading;

/** What a variable may hold, over all its elements and all ways through the kernel. */
type Value =
  | { readonly kind: 'zero' }
  /** Made of literals, indices and sizes. */
  | { readonly kind: 'number' }
  /** Made of the weight and numbers. */
  | { readonly kind: 'weight' }
  /** Numbers of another buffer, unchanged. */
  | { readonly kind: 'copy'; readonly of: string }
  /** A sum of weights times numbers of `of`; with `plus`, something else was added. */
  | { readonly kind: 'product'; readonly of: string; readonly plus: boolean }
  /** `mixed`: a weight or a product is in it, so that y might be no sum. */
  | { readonly kind: 'other'; readonly mixed: boolean; readonly why: string };
/** Nothing is known yet. */
type Known = Value | undefined;

const NUMBER: Value = { kind: 'number' };
const ZERO: Value = { kind: 'zero' };
const WEIGHT: Value = { kind: 'weight' };
const isMixed = (value: Value): boolean => value.kind === 'weight' || value.kind === 'product' || (value.kind === 'other' && value.mixed);
const other = (why: string, ...from: readonly Value[]): Value => {
  const first = from.find((value) => value.kind === 'other' && value.mixed);
  return first ?? { kind: 'other', mixed: from.some(isMixed), why };
};
const isNumber = ({ kind }: Value): boolean => kind === 'number' || kind === 'zero';
const isStatic = (value: Value): boolean => isNumber(value) || value.kind === 'weight';

/** One variable, assigned in two places. */
function join(a: Known, b: Known): Known {
  if (a === undefined) return b;
  if (b === undefined) return a;
  if (a.kind === 'zero') return b;
  if (b.kind === 'zero') return a;
  if (isStatic(a) && isStatic(b)) return a.kind === 'weight' ? a : b;
  if (a.kind === 'copy' && b.kind === 'copy' && a.of === b.of) return a;
  if (a.kind === 'product' && b.kind === 'product' && a.of === b.of) return a.plus ? a : b;
  if (a.kind === 'other' && (a.mixed || !isMixed(b))) return a;
  return other('one variable holds numbers of several kinds', b, a);
}
function add(a: Value, b: Value): Value {
  if (a.kind === 'zero') return b;
  if (b.kind === 'zero') return a;
  if (isStatic(a) && isStatic(b)) return a.kind === 'weight' ? a : b;
  if (a.kind === 'product' && b.kind === 'product' && a.of === b.of) return { ...a, plus: a.plus || b.plus };
  if (a.kind === 'product' && !isMixed(b)) return { ...a, plus: true };
  if (b.kind === 'product' && !isMixed(a)) return { ...b, plus: true };
  return other('the product is added to something that the weight is in too', a, b);
}
function multiply(a: Value, b: Value): Value {
  if (a.kind === 'zero' || b.kind === 'zero') return ZERO;
  if (isStatic(a) && isStatic(b)) return a.kind === 'weight' ? a : b;
  if (a.kind === 'weight' && b.kind === 'copy') return { kind: 'product', of: b.of, plus: false };
  if (b.kind === 'weight' && a.kind === 'copy') return { kind: 'product', of: a.of, plus: false };
  // Codes first, their scale afterwards: still a weight times x.
  if (a.kind === 'product' && !a.plus && b.kind === 'weight') return a;
  if (b.kind === 'product' && !b.plus && a.kind === 'weight') return b;
  return other('the product, or what the weight is multiplied with, is changed within the kernel', a, b);
}

/** Calls that hand on what they get, or add it up across threads. */
const HANDS_ON = /^(f32|vec[234]|array|select|subgroup\w+|quad\w+|workgroupUniformLoad|bitcast|f16)$/;

function evaluate(expression: Expression, values: ReadonlyMap<string, Known>): Known {
  if (expression.kind === 'number') return expression.zero ? ZERO : NUMBER;
  if (expression.kind === 'name') return values.get(expression.name);
  if (expression.kind === 'part') return evaluate(expression.of, values);
  if (expression.kind === 'unary') {
    const value = evaluate(expression.of, values);
    return value === undefined || isStatic(value) ? value : other(`its numbers go through "${expression.operator}"`, value);
  }
  if (expression.kind === 'binary') {
    const a = evaluate(expression.left, values);
    const b = evaluate(expression.right, values);
    if (a === undefined || b === undefined) return undefined;
    if (expression.operator === '+') return add(a, b);
    if (expression.operator === '*') return multiply(a, b);
    // Zero among other operators (a shift by 0, say) is a number like any.
    if (isStatic(a) && isStatic(b)) return a.kind === 'weight' || b.kind === 'weight' ? WEIGHT : NUMBER;
    if (expression.operator === '-' && a.kind === 'product' && !isMixed(b)) return { ...a, plus: true };
    return other(`its numbers go through "${expression.operator}"`, a, b);
  }
  const args = expression.args.map((arg) => evaluate(arg, values));
  // A condition's own value goes nowhere.
  const from = expression.name === 'select' ? args.slice(0, 2) : args;
  const given = from.filter((value) => value !== undefined);
  if (given.length < from.length) return undefined;
  if (expression.name === 'fma' && given.length === 3) return add(multiply(given[0], given[1]), given[2]);
  if (expression.name === 'dot' && given.length === 2) return multiply(given[0], given[1]);
  if (given.every(isStatic)) return given.some(({ kind }) => kind === 'weight') ? WEIGHT : NUMBER;
  if (HANDS_ON.test(expression.name)) {
    // The lane that a shuffle reads from is a number beside the value.
    const moved = expression.name.startsWith('subgroup') ? given.slice(0, 1) : given;
    if (/^subgroup(Mul|Min|Max|And|Or|Xor)/.test(expression.name)) return other(`its numbers go through ${expression.name}`, ...given);
    return moved.reduce<Known>(join, undefined);
  }
  return other(`its numbers go through ${expression.name}`, ...given);
}

/** Variables in a kernel's text are few; each can only go from less to more known, in at most this many steps. */
const ROUNDS = 64;

/** @see KernelReader */
export function readProduct(code: string, entry: string, weights: readonly number[]): KernelReading {
  let kernel: Kernel;
  try {
    kernel = parseKernel(code, entry);
  } catch (error) {
    return { known: false, why: error instanceof Error ? error.message : String(error) };
  }
  const isOutput = ({ space }: { readonly space: string }): boolean => space.includes('read_write');
  const values = new Map<string, Known>();
  for (const binding of kernel.bindings) {
    if (weights.includes(binding.index)) values.set(binding.name, WEIGHT);
    else if (binding.space === 'uniform') values.set(binding.name, NUMBER);
    else if (!isOutput(binding)) values.set(binding.name, { kind: 'copy', of: binding.name });
  }
  for (const builtin of ['blockIdx', 'gridDim', 'threadIdx']) values.set(builtin, NUMBER);
  const fixed = new Set(values.keys());
  let changed = true;
  for (let round = 0; changed && round < ROUNDS; round++) {
    changed = false;
    for (const { name, value } of kernel.assignments) {
      if (fixed.has(name)) return { known: false, why: `it writes to ${name}` };
      const before = values.get(name);
      const after = join(before, evaluate(value, values));
      if (same(before, after)) continue;
      values.set(name, after);
      changed = true;
    }
  }
  if (changed) return { known: false, why: 'its variables depend on each other in a way that is not understood' };
  return answer(kernel, values, isOutput);
}

function same(a: Known, b: Known): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.kind === b.kind &&
    (a.kind !== 'product' || (b.kind === 'product' && a.plus === b.plus)) &&
    (a.kind !== 'other' || (b.kind === 'other' && a.mixed === b.mixed))
  );
}

function answer(
  kernel: Kernel,
  values: ReadonlyMap<string, Known>,
  isOutput: (binding: Kernel['bindings'][number]) => boolean,
): KernelReading {
  const written = kernel.bindings.filter(isOutput).map((binding) => ({ binding, value: values.get(binding.name) }));
  const products = written.filter(({ value }) => value?.kind === 'product');
  const strange = written.find(({ value }) => value !== undefined && value.kind !== 'product' && isMixed(value));
  if (strange !== undefined) {
    const why = strange.value?.kind === 'other' ? strange.value.why : 'it writes the weight itself';
    return { known: false, why: `${why} before they reach ${strange.binding.name}` };
  }
  if (products.length !== 1) return { known: false, why: `it writes ${products.length} products of the weight` };
  const [{ binding, value }] = products;
  const of = value?.kind === 'product' ? value.of : '';
  const input = kernel.bindings.find(({ name }) => name === of);
  if (input === undefined) return { known: false, why: 'what the weight is multiplied with is in no buffer' };
  for (const { name, type } of [binding, input])
    if (!/^array<(f32|vec[234](<f32>|f))>$/.test(type))
      return { known: false, why: `${name} is an ${type}, and adapters are added in f32` };
  return { known: true, input: input.index, output: binding.index };
}
