/* Only where the address is still the one that the page was drawn for: a click may have led on meanwhile. */
export default function (component) {
  const { before, query } = component.data;
  const sorted = (search) => [...new URLSearchParams(search)].map(String).sort().join("&");
  if (sorted(location.search) === sorted(before)) history.replaceState({}, "", `${location.pathname}?${query}`);
}
