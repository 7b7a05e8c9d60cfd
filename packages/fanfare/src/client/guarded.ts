// Owns: calls into the application.

/** Runs the application's code; what it throws is reported, and harms nobody else. */
export function guarded<A extends unknown[]>(f: ((...args: A) => unknown) | undefined, ...args: A): void {
  try {
    f?.(...args);
  } catch (error) {
    (globalThis.reportError ?? console.error)(error);
  }
}
