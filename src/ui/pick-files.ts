import type { PickedFile } from '../rpc/contract.ts';

/** What a file input holds; a chosen folder keeps the paths inside it. */
export function filesOfInput(input: HTMLInputElement): readonly PickedFile[] {
  return [...(input.files ?? [])].map((file) => ({
    path: insideFolder(file.webkitRelativePath === '' ? file.name : file.webkitRelativePath),
    file,
  }));
}

/** What was dropped: files, and the files of dropped folders. */
export async function filesOfDrop(transfer: DataTransfer): Promise<readonly PickedFile[]> {
  // Entries must be asked for before the first await; afterwards the list is empty.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  if (entries.length === 0) return [...transfer.files].map((file) => ({ path: file.name, file }));
  const found = await Promise.all(entries.map(filesBelow));
  return found.flat().map(({ path, file }) => ({ path: insideFolder(path.replace(/^\//, '')), file }));
}

/** "my-model/config.json" is "config.json" to a reader of models; a bare name stays. */
function insideFolder(path: string): string {
  const slash = path.indexOf('/');
  return slash < 0 ? path : path.slice(slash + 1);
}

async function filesBelow(entry: FileSystemEntry): Promise<readonly PickedFile[]> {
  if (isFile(entry)) {
    const file = await new Promise<File>((resolve, reject) => entry.file(resolve, reject));
    return [{ path: entry.fullPath, file }];
  }
  if (!isFolder(entry)) return [];
  const reader = entry.createReader();
  const children: FileSystemEntry[] = [];
  for (;;) {
    // A reader hands out its entries in parts, until an empty one.
    const part = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (part.length === 0) break;
    children.push(...part);
  }
  return (await Promise.all(children.map(filesBelow))).flat();
}
const isFile = (entry: FileSystemEntry): entry is FileSystemFileEntry => entry.isFile;
const isFolder = (entry: FileSystemEntry): entry is FileSystemDirectoryEntry => entry.isDirectory;
