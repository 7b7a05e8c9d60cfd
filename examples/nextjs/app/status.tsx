export function Status({ isConnected }: { isConnected: boolean }) {
  return <p className={isConnected ? "status on" : "status"}>{isConnected ? "Connected" : "Disconnected"}</p>;
}
