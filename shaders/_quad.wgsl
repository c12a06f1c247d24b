// What the kernels of a quad share. Four neighbouring threads stand side by side on the same rows, each reads a quarter of what all of them need, and hands it
// to the others through their registers. A software GPU runs the four in one register and reads memory for each of them; others have the quads of their pixels.
enable subgroups;
// All four leave a kernel together, since their rows and the first of their columns are the same.
diagnostic(off, subgroup_uniformity);

/** What each of the four has, in their order. */
fn of_all(own: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(quadBroadcast(own, 0u), quadBroadcast(own, 1u), quadBroadcast(own, 2u), quadBroadcast(own, 3u));
}
