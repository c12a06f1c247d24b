/** Hands bytes to the browser as a download. Nothing is sent: the address is a blob of this page. */
export function saveFile(name: string, mime: string, content: string | Uint8Array | Blob): void {
  const part = content instanceof Uint8Array ? new Uint8Array(content) : content;
  const url = URL.createObjectURL(part instanceof Blob ? part : new Blob([part], { type: mime }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  // The download has begun by the next turn; the address may go then.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
