import { expect, test } from 'vitest';
import { AppError } from '../../src/lib/error.ts';
import { type Change, notify, onChange } from '../../src/storage/changes.ts';
import { asStorageError } from '../../src/storage/errors.ts';

test.each([
  ['QuotaExceededError', 'storage/full'],
  ['VersionError', 'storage/newer'],
  ['InvalidStateError', 'storage/closed'],
  ['NoModificationAllowedError', 'storage/in-use'],
  ['NotFoundError', 'storage/missing'],
  ['UnknownError', 'storage/failed'],
])('%s of the browser is %s', (name, code) => {
  const error = asStorageError(new DOMException('said the browser', name), 2_500_000);
  expect(error.code).toBe(code);
  expect(error.fix).not.toBe('');
});

test('a full storage says how many bytes were needed', () => {
  const error = asStorageError(new DOMException('', 'QuotaExceededError'), 2_500_000);
  expect(error.facts.bytesNeeded).toBe(2_500_000);
  expect(error.message).toContain('2.5 MB');
});

test('an error of ours passes as it is', () => {
  const own = new AppError('model/none', 'No model.');
  expect(asStorageError(own)).toBe(own);
});

test('a change is heard in the context that wrote it, until one stops listening', () => {
  const heard: Change[] = [];
  const stop = onChange((change) => heard.push(change));
  notify('tasks', 'a');
  stop();
  notify('tasks', 'b');
  expect(heard).toEqual([{ store: 'tasks', key: 'a' }]);
});
