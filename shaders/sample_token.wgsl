// sample_token: each row's next token out of its logits, drawn after temperature, top-k and top-p in that order: the same rule as sampleToken in sampling.ts.
// Top-k: Fan et al. 2018, arXiv:1805.04833; top-p: Holtzman et al. 2019, arXiv:1904.09751. What ends a step besides is as in decode_advance.
//
//   tokens  (R)          u32  write       the next step's input
//   rows    (R, 2)       u32  read+write  position of each row's token; its slot in the cache
//   history (S, R)       u32  write       the tokens of each step
//   draws   (R, 4)       u32  read+write  seed; tokens drawn so far; steps since the host looked
//   value   (R, pieces)  f32  read        of argmax
//   logits  (R, stride)  f32  read        V columns of each row count
//   options (4)          f32  read        temperature, top-k (0 means all), top-p
//
// With d = largest - logit, a token weighs exp(-d / temperature); at d >= REACH * temperature nothing. Nothing is sorted: what is kept is all below a bound of
// d, and of those at the bound (equals) as many as there is room for, the lowest ids. The bound is closed in on by 16 cuts a pass, each with the count or
// weight below it. Among the kept, the smallest e / weight wins, e an Exp(1) number of (seed, tokens drawn, id) alone: a race that each wins with its share
// of the weight (Efraimidis & Spirakis 2006, IPL 97(5)), whatever order threads run in.
//
// dispatch: x: R workgroups; one owns a row. The one kernel whose threads share numbers: a dispatch for each pass would cost more. A software GPU pays for
// barriers by the thread, so WG is small there.

override WG: u32 = 64u;

struct Params { first: u32, rows: u32, V: u32, stride: u32, pieces: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(2) var<storage, read_write> rows: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> history: array<u32>;
@group(0) @binding(4) var<storage, read_write> draws: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read> value: array<f32>;
@group(0) @binding(6) var<storage, read> logits: array<f32>;
@group(0) @binding(7) var<storage, read> options: array<f32>;

const CUTS = 16u;
/** Passes after which what lies between two cuts is equal: 16^8 = 2^32 times closer together than the whole row. */
const PASSES = 8u;
const REACH = 87.0;
const FAR = 3.0e38;

var<workgroup> parts: array<vec4<f32>, WG * 4u>;
var<workgroup> ids: array<u32, WG>;
var<workgroup> totals: array<f32, CUTS>;
var<workgroup> shared_state: State;

/** What is measured next: counts up to a rank, the weight of what top-k keeps, weights up to top-p's share, the count of equals there. */
const RANK = 0u;
const KEPT = 1u;
const SHARE = 2u;
const EQUALS = 3u;
const DONE = 4u;
/** Of d < a there is `below`, of d < b `upto`: a count or a weight. Of the `equals` at a <= d < b, `room` are kept. */
struct State { stage: u32, passes: u32, ranked: u32, a: f32, b: f32, below: f32, upto: f32, wanted: f32, room: f32, equals: f32 }

fn cut(state: State, j: u32) -> f32 {
  if (j == CUTS - 1u) { return state.b; }
  let narrow = state.a + (state.b - state.a) * f32(j + 1u) / f32(CUTS);
  return select(select(state.b, state.a, j == 0u), narrow, state.stage == RANK || state.stage == SHARE);
}
/** What follows from the totals of a pass. */
fn next(before: State, temperature: f32, top_k: f32, top_p: f32) -> State {
  var s = before;
  switch (s.stage) {
    case RANK, SHARE: {
      let counting = s.stage == RANK;
      if (counting && s.passes == 0u && totals[CUTS - 1u] <= top_k) { // fewer than k weigh anything
        s.stage = select(DONE, KEPT, top_p < 1.0);
        return s;
      }
      var k = 0u;
      while (k < CUTS - 1u && totals[k] < s.wanted) { k++; }
      s.a = select(before.a, cut(before, max(k, 1u) - 1u), k > 0u);
      s.below = select(before.below, totals[max(k, 1u) - 1u], k > 0u);
      s.b = cut(before, k);
      s.upto = totals[k];
      s.passes++;
      // Of one token alone it need not be said where it is.
      let least = select(exp(-s.b / temperature), 1.0, counting);
      if (s.passes < PASSES && s.upto - s.below >= 1.5 * least) { return s; }
      if (counting) {
        s.equals = s.upto - s.below;
        s.room = top_k - s.below;
        s.ranked = 1u;
        s.stage = select(DONE, KEPT, top_p < 1.0);
      } else {
        s.stage = EQUALS;
      }
    }
    case KEPT: {
      let each = (totals[1] - totals[0]) / s.equals;
      s.wanted = top_p * select(totals[1], totals[0] + s.room * each, s.ranked == 1u);
      if (s.ranked == 1u && s.wanted > totals[0]) {
        s.room = clamp(ceil((s.wanted - totals[0]) / each), 1.0, s.room);
        s.stage = DONE;
      } else {
        s.upto = totals[1u - s.ranked];
        s.b = select(s.b, s.a, s.ranked == 1u);
        s.a = 0.0;
        s.below = 0.0;
        s.passes = 0u;
        s.stage = SHARE;
      }
    }
    default: {
      s.equals = totals[1] - totals[0];
      s.room = clamp(ceil((s.wanted - s.below) * s.equals / (s.upto - s.below)), 1.0, s.equals);
      s.stage = DONE;
    }
  }
  return s;
}

fn pcg(v: u32) -> u32 {
  let s = v * 747796405u + 2891336453u;
  let w = ((s >> ((s >> 28u) + 4u)) ^ s) * 277803737u;
  return (w >> 22u) ^ w;
}
/** log of an Exp(1) number: e = -log(1 - v), v uniform in (0, 1); by a series where v is small, since those win and log is coarse near 1. */
fn log_exponential(word: u32) -> f32 {
  let v = min(f32(word) * 2.3283064365386963e-10 + 1.1641532182693481e-10, 0.99999994);
  let z = v / (2.0 - v);
  let q = z * z;
  let series = 2.0 * z * (1.0 + q * (0.33333334 + q * (0.2 + q * (0.14285715 + q * 0.11111111))));
  return log(select(-log(1.0 - v), series, v < 0.25));
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let r = wg.x + params.first;
  let thread = local.x;
  let at = r * params.stride;
  let V = params.V;
  var largest = -FAR;
  for (var i = 0u; i < params.pieces; i++) { largest = max(largest, value[r * params.pieces + i]); }
  let temperature = options[0];
  let top_k = options[1];
  let top_p = options[2];
  let by_rank = top_k > 0.0 && top_k < f32(V);

  var state = State(select(select(DONE, KEPT, top_p < 1.0), RANK, by_rank), 0u, 0u, 0.0, REACH * temperature, 0.0, FAR, top_k, 1.0, 1.0);
  while (state.stage != DONE) {
    let counting = state.stage == RANK || state.stage == EQUALS;
    let e0 = vec4<f32>(cut(state, 0u), cut(state, 1u), cut(state, 2u), cut(state, 3u));
    let e1 = vec4<f32>(cut(state, 4u), cut(state, 5u), cut(state, 6u), cut(state, 7u));
    let e2 = vec4<f32>(cut(state, 8u), cut(state, 9u), cut(state, 10u), cut(state, 11u));
    let e3 = vec4<f32>(cut(state, 12u), cut(state, 13u), cut(state, 14u), cut(state, 15u));
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    for (var n = thread; n < V; n += WG) {
      let d = vec4<f32>(largest - logits[at + n]);
      let weight = select(exp(-d / temperature), vec4<f32>(1.0), counting);
      s0 += select(vec4<f32>(), weight, d < e0);
      s1 += select(vec4<f32>(), weight, d < e1);
      s2 += select(vec4<f32>(), weight, d < e2);
      s3 += select(vec4<f32>(), weight, d < e3);
    }
    parts[thread] = s0;
    parts[WG + thread] = s1;
    parts[2u * WG + thread] = s2;
    parts[3u * WG + thread] = s3;
    workgroupBarrier();
    for (var j = thread; j < 4u; j += WG) {
      var sum = vec4<f32>();
      for (var i = 0u; i < WG; i++) { sum += parts[j * WG + i]; }
      for (var i = 0u; i < 4u; i++) { totals[4u * j + i] = sum[i]; }
    }
    workgroupBarrier();
    if (thread == 0u) { shared_state = next(state, temperature, top_k, top_p); }
    state = workgroupUniformLoad(&shared_state);
  }

  // From here on a thread owns a run of columns, so that equals are counted in the order of their ids.
  let run = (V + WG - 1u) / WG;
  let begin = min(thread * run, V);
  let end = min(begin + run, V);
  // Where nothing was cut off, all up to b are kept.
  let bounded = state.ranked == 1u || top_p < 1.0;
  let a = select(state.b, state.a, bounded);
  var own = 0u;
  for (var n = begin; n < end; n++) {
    let d = largest - logits[at + n];
    own += select(0u, 1u, d >= a && d < state.b);
  }
  ids[thread] = own;
  workgroupBarrier();
  var before = 0u;
  for (var i = 0u; i < thread; i++) { before += ids[i]; }
  workgroupBarrier();

  let draw = draws[r];
  let stream = pcg(draw.y ^ pcg(draw.x));
  var best = FAR;
  var id = V - 1u;
  for (var n = begin; n < end; n++) {
    let d = largest - logits[at + n];
    before += select(0u, 1u, d >= a && d < state.b);
    if (d < a || (d < state.b && f32(before) <= state.room)) {
      let lot = log_exponential(pcg(n ^ stream)) + d / temperature;
      if (lot < best) {
        best = lot;
        id = n;
      }
    }
  }
  parts[thread] = vec4<f32>(best);
  ids[thread] = id;
  workgroupBarrier();
  if (thread > 0u) { return; }
  for (var i = 1u; i < WG; i++) {
    if (parts[i].x < best) {
      best = parts[i].x;
      id = ids[i];
    }
  }
  tokens[r] = id;
  rows[r].x += 1u;
  history[draw.z * params.rows + r] = id;
  draws[r] = vec4<u32>(draw.x, draw.y + 1u, draw.z + 1u, draw.w);
}
