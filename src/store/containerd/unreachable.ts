/** Why content cannot be had while nothing answers at containerd's socket. Readiness, pulls and the checks of doctor have the same words. */
export function containerdUnreachable(socket: string): string {
  return `containerd is not reachable at ${socket}`
}
