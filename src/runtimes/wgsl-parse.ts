// As much of WGSL as compilers of models write: declarations, assignments, calls, loops and conditions. Only where values come from is kept, so conditions
// and loop bounds are read and dropped. What is not known here is an error, and the kernel then counts as unknown.

export type Expression =
  | { readonly kind: 'number'; readonly zero: boolean }
  | { readonly kind: 'name'; readonly name: string }
  /** An element or a component: what is looked at is `of`, whichever element it is. */
  | { readonly kind: 'part'; readonly of: Expression }
  | { readonly kind: 'unary'; readonly operator: string; readonly of: Expression }
  | { readonly kind: 'binary'; readonly operator: string; readonly left: Expression; readonly right: Expression }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Expression[] };
/** `name` (or an element of it) becomes `value`. */
export interface Assignment {
  readonly name: string;
  readonly value: Expression;
}
export interface Binding {
  readonly index: number;
  readonly name: string;
  /** "storage, read_write", "storage, read", "uniform". */
  readonly space: string;
  /** "array<f32>". */
  readonly type: string;
}
export interface Kernel {
  readonly bindings: readonly Binding[];
  readonly assignments: readonly Assignment[];
}

const TOKEN =
  /\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\/|([A-Za-z_]\w*)|((?:0[xX][\da-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)[iufh]?)|(&&|\|\||<<|>>|<=|>=|==|!=|\+\+|--|->|[-+*/%&|^]=|[-+*/%&|^!~<>=()[\]{}.,;:@])/y;
/** Names that take types in angle brackets; after any other name "<" compares. */
const TEMPLATES = /^(array|vec[234]|mat[234]x[234]|bitcast|ptr|atomic)$/;
/** By how tightly they bind. */
const BINARY: Readonly<Record<string, number>> = {
  '||': 1,
  '&&': 2,
  '|': 3,
  '^': 4,
  '&': 5,
  '==': 6,
  '!=': 6,
  '<': 7,
  '>': 7,
  '<=': 7,
  '>=': 7,
  '<<': 8,
  '>>': 8,
  '+': 9,
  '-': 9,
  '*': 10,
  '/': 10,
  '%': 10,
};

function tokens(text: string): readonly string[] {
  const found: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (match === null) throw new Error(`it has "${text.slice(at, at + 12).trim()}", which is not understood`);
    const token = match[1] ?? match[2] ?? match[3];
    if (token !== undefined) found.push(token);
  }
  return found;
}

/** Reads the module's bindings and the function `entry`. @throws Error that says what is not understood */
export function parseKernel(text: string, entry: string): Kernel {
  const all = tokens(text);
  let at = 0;
  const bindings: Binding[] = [];
  const assignments: Assignment[] = [];
  let found = false;

  const peek = (ahead = 0): string => all[at + ahead] ?? '';
  const next = (): string => all[at++] ?? '';
  const strange = (): never => {
    throw new Error(`it has "${all.slice(Math.max(0, at - 1), at + 5).join(' ')}", which is not understood`);
  };
  const expect = (token: string): void => {
    if (next() !== token) strange();
  };
  const accept = (token: string): boolean => {
    if (peek() !== token) return false;
    at++;
    return true;
  };
  /** Past the bracket that closes the one here; what lies between, as text. */
  const skip = (open: string, close: string): string => {
    expect(open);
    const from = at;
    for (let depth = 1; depth > 0; at++) {
      if (at >= all.length) strange();
      // "array<vec4<f32>>" ends in one token.
      if (open === '<' && peek() === '>>') depth -= 2;
      else if (peek() === open) depth++;
      else if (peek() === close) depth--;
    }
    return all.slice(from, at - 1).join(' ');
  };
  const type = (): string => {
    const name = next();
    if (peek() !== '<') return name;
    const from = at;
    skip('<', '>');
    return name + all.slice(from, at).join('');
  };
  const list = (close: string): readonly Expression[] => {
    const items: Expression[] = [];
    while (!accept(close)) {
      items.push(expression(0));
      if (!accept(',')) {
        expect(close);
        break;
      }
    }
    return items;
  };

  function primary(): Expression {
    const token = next();
    if (token === '(') {
      const inner = expression(0);
      expect(')');
      return inner;
    }
    if (/^[\d.]/.test(token) && token !== '.') return { kind: 'number', zero: Number(token.replace(/[iufh]$/, '')) === 0 };
    if (!/^[A-Za-z_]/.test(token)) return strange();
    if (token === 'true' || token === 'false') return { kind: 'number', zero: false };
    if (TEMPLATES.test(token) && peek() === '<') skip('<', '>');
    if (accept('(')) return { kind: 'call', name: token, args: list(')') };
    return { kind: 'name', name: token };
  }
  function postfix(): Expression {
    let value = primary();
    for (;;) {
      if (accept('[')) {
        expression(0);
        expect(']');
      } else if (accept('.')) next();
      else return value;
      value = { kind: 'part', of: value };
    }
  }
  function unary(): Expression {
    const operator = peek();
    if (!['-', '!', '~'].includes(operator)) return postfix();
    at++;
    return { kind: 'unary', operator, of: unary() };
  }
  function expression(least: number): Expression {
    let left = unary();
    for (;;) {
      const operator = peek();
      const binds = BINARY[operator] ?? 0;
      if (binds <= least) return left;
      at++;
      left = { kind: 'binary', operator, left, right: expression(binds) };
    }
  }

  const nameOf = (target: Expression): string =>
    target.kind === 'name' ? target.name : target.kind === 'part' ? nameOf(target.of) : strange();
  /** A declaration, an assignment, a step or a call, without the semicolon. */
  function simple(): void {
    if (peek() === 'let' || peek() === 'var' || peek() === 'const') {
      at++;
      if (peek() === '<') skip('<', '>');
      const name = next();
      if (accept(':')) type();
      if (accept('=')) assignments.push({ name, value: expression(0) });
      return;
    }
    const target = postfix();
    const operator = peek();
    if (operator === '=') {
      at++;
      assignments.push({ name: nameOf(target), value: expression(0) });
    } else if (/^[-+*/%&|^]=$/.test(operator)) {
      at++;
      assignments.push({ name: nameOf(target), value: { kind: 'binary', operator: operator[0], left: target, right: expression(0) } });
    } else if (operator === '++' || operator === '--') {
      at++;
      assignments.push({ name: nameOf(target), value: { kind: 'number', zero: false } });
    } else if (target.kind !== 'call' || !/[bB]arrier$/.test(target.name)) {
      // A call for its effects, which may reach anything through a pointer.
      strange();
    }
  }
  function statement(): void {
    if (accept(';')) return;
    if (peek() === '{') block();
    else if (accept('if')) {
      expression(0);
      block();
      if (accept('else')) statement();
    } else if (accept('while')) {
      expression(0);
      block();
    } else if (accept('loop')) block();
    else if (accept('for')) {
      expect('(');
      if (peek() !== ';') simple();
      expect(';');
      if (peek() !== ';') expression(0);
      expect(';');
      if (peek() !== ')') simple();
      expect(')');
      block();
    } else if (['return', 'break', 'continue'].includes(peek())) {
      at++;
      expect(';');
    } else {
      simple();
      expect(';');
    }
  }
  function block(): void {
    expect('{');
    while (!accept('}')) statement();
  }

  let index: number | undefined;
  while (at < all.length) {
    if (accept('@')) {
      const attribute = next();
      const inside = peek() === '(' ? skip('(', ')') : '';
      if (attribute === 'binding') index = Number.parseInt(inside, 10);
    } else if (accept('var')) {
      const space = peek() === '<' ? skip('<', '>').replaceAll(' , ', ', ') : '';
      const name = next();
      expect(':');
      const declared = type();
      expect(';');
      if (index !== undefined) bindings.push({ index, name, space, type: declared });
      index = undefined;
    } else if (accept('fn')) {
      const name = next();
      skip('(', ')');
      while (peek() !== '{' && at < all.length) at++;
      if (name !== entry) skip('{', '}');
      else {
        found = true;
        block();
      }
    } else if (accept('struct')) {
      next();
      skip('{', '}');
    } else at++;
  }
  if (!found) throw new Error(`it has no function named ${entry}`);
  return { bindings, assignments };
}
