// The one GPU device that web-llm asks for: caught on its way, so that a loss is heard at once and a load that failed gives its bytes back.
import { AppError } from '../lib/error.ts';

export interface WatchedDevice {
  /** Resolves when the GPU is lost; never, while it is not, and never for `release`. */
  readonly lost: Promise<AppError>;
  /** Nothing that happens to the device from now on is a loss: it is left in an orderly way. */
  leaving(): void;
  /** Frees all that is on it, now or, where it has not come yet, when it comes. */
  release(): void;
  /** Devices that are requested from now on are not watched, and where nobody else does, the browser's own method is back in its place. */
  enough(): void;
}

/** Hears of each device that the worker gets. */
type Hear = (device: GPUDevice, info: GPUAdapterInfo) => void;
let hear: Hear | undefined;
/** Puts the browser's own method back; absent while it is there. */
let restore: (() => void) | undefined;

function listen(): void {
  if (restore !== undefined) return;
  const own = GPUAdapter.prototype.requestDevice;
  const heardOf: typeof own = async function (this: GPUAdapter, descriptor) {
    // Whoever watched when it was asked for, not when it comes.
    const heard = hear;
    const device = await own.call(this, descriptor);
    heard?.(device, this.info);
    return device;
  };
  GPUAdapter.prototype.requestDevice = heardOf;
  restore = () => {
    // Unless someone else has wrapped it since.
    if (GPUAdapter.prototype.requestDevice === heardOf) GPUAdapter.prototype.requestDevice = own;
    restore = undefined;
  };
}

/** Watches the devices that are requested from now on, until another watch begins. `onDevice` sees each before web-llm does. */
export function watchDevice(onDevice: Hear = () => undefined): WatchedDevice {
  const devices: GPUDevice[] = [];
  let over = false;
  let tell: (error: AppError) => void = () => undefined;
  const lost = new Promise<AppError>((resolve) => {
    tell = resolve;
  });
  listen();
  const own: Hear = (device, info) => {
    if (over) device.destroy();
    onDevice(device, info);
    devices.push(device);
    void device.lost.then(({ reason, message }) => {
      if (!over) tell(reason === 'destroyed' ? gaveUp(message) : gpuLost(message));
    });
  };
  hear = own;
  const leaving = (): void => {
    over = true;
  };
  return {
    lost,
    leaving,
    release() {
      leaving();
      for (const device of devices) device.destroy();
    },
    enough() {
      if (hear !== own) return;
      hear = undefined;
      restore?.();
    },
  };
}

function gpuLost(message: string): AppError {
  return new AppError('gpu/lost', 'The GPU was lost while web-llm used it.', {
    why: `Another program or the driver reset it, or it ran out of memory. The browser says: ${message === '' ? 'nothing more' : message}`,
    fix: 'Load the model again; what was saved is safe.',
  });
}
/** web-llm destroys its device itself where a buffer could not be made. */
function gaveUp(message: string): AppError {
  return new AppError('gpu/out-of-memory', 'The GPU refused memory that web-llm asked for.', {
    why: `Web-llm then gives up its device. The browser says: ${message === '' ? 'nothing more' : message}`,
    fix: 'Unload the model of our engine first, choose a smaller model or one of 4 bits, or run the model in our engine.',
  });
}
