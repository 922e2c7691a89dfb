declare module 'udx-native' {
  const UDX: unknown
  export default UDX
}
