// No dropout: what _dropout has, with nothing dropped.

fn dropout_stream(place: u32) -> u32 { return place; }
fn keep4(stream: u32, index: u32) -> vec4<f32> { return vec4<f32>(1.0); }
