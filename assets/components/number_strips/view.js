/* A calculation as steps, with its downloads. data: { steps: as shared/number_strips.js takes them } */
import { columnsOf, downloadButtons } from "../shared/download.js";
import { mountOnce } from "../shared/mount.js";
import { numberStrips } from "../shared/number_strips.js";

export default (mounting) => mountOnce(mounting, (root, component) => {
  const strips = numberStrips(root);
  downloadButtons(root, {
    name: () => "one-look",
    drawn: strips.box,
    columns: () => {
      const lines = component.data.steps.flatMap((step, at) => step.strips.flatMap((strip) => strip.values.map((value, place) => [at + 1, step.title, strip.label, place + 1, value ?? "-inf"])));
      return columnsOf(["step", "title", "strip", "no.", "value"], lines);
    },
  });
  return { update: () => strips.show(component.data.steps, component.palette) };
});
